"""All tasks over public data, and the mixtures of a TeacherLM's stages.

    teacher_multitask      P3-Sense-3K, Muffin-3W and TeacherData, by their examples after caps
    teacher_five_fields    TeacherData, all three explanations in one text
    teacher_fundamentals   TeacherData of one explanation, for a specialist
    teacher_cot
    teacher_mistakes

Importing this registers everything that a run names, but for the embedded world (`tasks.world`); it
reads no data. `teacher_multitask` and `teacher_stage` register variants, and return their names, so
that gin can call them where a name is asked for.
"""

from __future__ import annotations

import seqio

from teacherlm_jax.tasks import annotation_sets, pretraining
from teacherlm_jax.tasks.evaluation import registry as evaluation_registry
from teacherlm_jax.tasks.muffin import registry as muffin_registry
from teacherlm_jax.tasks.p3 import registry as p3_registry
from teacherlm_jax.tasks.teacherdata import registry as teacherdata_registry
from teacherlm_jax.tasks.teacherdata.examples import FORMS

TEACHERDATA_EXAMPLES = 2_000_000
"""Of TeacherData-2M. What lies in a folder is not counted: rates are known before data is read."""

MODULES = (
    annotation_sets,
    pretraining,
    evaluation_registry,
    muffin_registry,
    p3_registry,
    teacherdata_registry,
)
"""What registers the tasks."""

STAGE_FORMS = ("five_fields", "fundamentals", "cot", "mistakes")


def teacher_multitask(
    teacherdata_examples: int = TEACHERDATA_EXAMPLES,
    p3: str = "p3_sense_3k",
    muffin: str = "muffin_3w",
    teacherdata: str = teacherdata_registry.NAME,
) -> str:
    """Registers the mixture of the first stage where it is not yet, and returns its name.

    P3 and Muffin have as rates their own examples after caps, so that an epoch is a pass over each.

    Args:
        teacherdata_examples: the rate of TeacherData.
        p3: a mixture, such as "p3_sense_3k_by_prompt".
        muffin: a mixture.
        teacherdata: a mixture, as `teacherdata.registry.register` makes them.

    Raises:
        ValueError: a number that is no rate, or a name that is no mixture's.
    """
    if teacherdata_examples < 1:
        raise ValueError(
            f"teacherdata_examples = {teacherdata_examples}, but it must be 1 or more."
        )
    parts = {"p3_sense_3k": p3, "muffin_3w": muffin, teacherdata_registry.NAME: teacherdata}
    for part in parts.values():
        if part not in seqio.MixtureRegistry.names():
            raise ValueError(f"no mixture {part!r} is registered, so it cannot be part of another.")
    name = "teacher_multitask" + "".join(
        f"_{part}" for default, part in parts.items() if part != default
    )
    if teacherdata_examples != TEACHERDATA_EXAMPLES:
        name += f"_{teacherdata_examples}"
    if name not in seqio.MixtureRegistry.names():
        rates = {part: seqio.MixtureRegistry.get(part).total_rate for part in (p3, muffin)}
        rates[teacherdata] = float(teacherdata_examples)
        seqio.MixtureRegistry.add(name, list(rates.items()))
    return name


def teacher_stage(form: str, teacherdata: str = teacherdata_registry.NAME) -> str:
    """Registers the mixture of a later stage where it is not yet, and returns its name.

    Args:
        form: one of `STAGE_FORMS`; of "five_fields" the second stage's, else a specialist's.
        teacherdata: as `teacher_multitask`.

    Raises:
        ValueError: an argument is not as said.
    """
    if form not in STAGE_FORMS:
        raise ValueError(f"form = {form!r}, but it must be one of {', '.join(STAGE_FORMS)}.")
    task = f"{teacherdata}_{form}"
    if task not in seqio.TaskRegistry.names():
        raise ValueError(f"no task {task!r} is registered: register {teacherdata!r} first.")
    is_default = teacherdata == teacherdata_registry.NAME
    name = f"teacher_{form}" + ("" if is_default else f"_{teacherdata}")
    if name not in seqio.MixtureRegistry.names():
        seqio.MixtureRegistry.add(name, [(task, 1.0)])
    return name


NAMES = (teacher_multitask(), *map(teacher_stage, STAGE_FORMS))
"""Of the stages' mixtures that importing this module registers."""

assert FORMS.keys() >= set(STAGE_FORMS)
