"""seqio tasks over TeacherData, one a text format, and a mixture of the simple ones.

    teacherdata_plain          question and answer
    teacherdata_cot            ... and chain of thought
    teacherdata_fundamentals   ... and fundamentals
    teacherdata_mistakes       ... and common mistakes
    teacherdata_five_fields    ... and all three explanations in one text
    teacherdata                a mixture of the first four, evenly

They read the folder `teacherdata` of the folder of data, or the prepared TFDS builder; `register`
makes the like of records that lie elsewhere.
"""

from __future__ import annotations

import re

import seqio

from teacherlm_jax.data.record_source import Path, TeacherDataSource
from teacherlm_jax.tasks import text_tasks
from teacherlm_jax.tasks.teacherdata.examples import FORMS, Rendering

NAME = "teacherdata"
MIXED_FORMS = ("plain", "cot", "fundamentals", "mistakes")
"""Of the mixture; in which proportions the paper mixed them is not known."""


def register(path: Path = None, name: str = NAME) -> str:
    """Registers the tasks and the mixture of TeacherData at a path, and returns the mixture's name.

    Args:
        path: as `record_source.TeacherDataSource` takes it.
        name: of the mixture, and with "_" and the form of the tasks; letters, digits and
            underscores. Tasks of that name are replaced, but not in mixtures that hold them
            already.

    Raises:
        ValueError: the name is no such text.
    """
    if not re.fullmatch(r"\w+", name, re.ASCII):
        raise ValueError(f"name = {name!r}, but it must be letters, digits and underscores.")
    for form in FORMS:
        task = f"{name}_{form}"
        seqio.TaskRegistry.remove(task)
        seqio.TaskRegistry.add(
            task,
            source=TeacherDataSource(path),
            output_features=text_tasks.features(),
            preprocessors=[
                Rendering(task, form),
                seqio.preprocessors.tokenize,
                seqio.CacheDatasetPlaceholder(),
                seqio.preprocessors.append_eos,
            ],
        )
    seqio.MixtureRegistry.remove(name)
    seqio.MixtureRegistry.add(name, [(f"{name}_{form}", 1.0) for form in MIXED_FORMS])
    return name


def task_name(form: str, path: Path = None, name: str = NAME) -> str:
    """Registers TeacherData at a path, and returns the name of a form's task, for gin files.

    Args:
        form: a key of `FORMS`.
        path: as `register`.
        name: as `register`.

    Raises:
        ValueError: there is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"form = {form!r}, but it must be one of {', '.join(FORMS)}.")
    return f"{register(path, name)}_{form}"
