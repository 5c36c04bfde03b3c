"""seqio tasks and mixtures of evaluation, registered when this module is imported.

Tasks are called NAME_letters and NAME_options; the split "evaluation" of each is the one that its
set's figures are published for. Mixtures, in both forms:

    mmlu, mmlu_{stem,humanities,social_sciences,other}   57 subjects and the original groups
    mmlu_lm_eval                                         57 subjects in lm-eval's groups
    paper_evaluation                                     mmlu, CREAK, ECQA, StrategyQA twice
    commonsense_evaluation, inference_evaluation, exams_evaluation
    all_evaluation                                       all of these

Groups are mixtures inside of a mixture, and averages are reported for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import seqio

from teacherlm_jax.tasks import catalogue  # noqa: F401
from teacherlm_jax.tasks.evaluation import forms, mmlu, sets
from teacherlm_jax.tasks.evaluation.questions import REPORTED, EvaluationSet, Question

TASKS: dict[str, EvaluationSet] = {}
"""Every task's set of questions, by the task's name."""


def evaluation_texts(task_name: str, split: str = REPORTED) -> Iterator[Question]:
    """The questions of a task, once each and without tokens, as decontamination wants them.

    Args:
      task_name: such as "creak_letters".
      split: of the task.

    Raises:
      ValueError: there is no such evaluation task, or no such split.
      RowError: a row is malformed, and that is an error.
    """
    if task_name not in TASKS:
        raise ValueError(
            f"{task_name!r} is no evaluation task; there are {len(TASKS)}, such as"
            f" {', '.join(sorted(TASKS)[:3])}."
        )
    source = seqio.TaskRegistry.get(task_name).source
    if split not in source.splits:
        raise ValueError(f"{task_name} has no split {split!r}; it has {list(source.splits)}.")
    yield from forms.questions_of(task_name, split)


def _add_task(asked: EvaluationSet, form: str) -> str:
    name = forms.add_task(asked, form).name
    TASKS[name] = asked
    return name


def _add_tasks(asked: Iterable[EvaluationSet], form: str) -> list[str]:
    return [_add_task(each, form) for each in asked]


def _add_mixture(name: str, members: Iterable[str]) -> str:
    """Rates are such that tasks are even, however they are grouped."""
    rates = {
        member: len(seqio.get_mixture_or_task(member).tasks)
        if member in seqio.MixtureRegistry.names()
        else 1
        for member in members
    }
    return seqio.MixtureRegistry.add(name, list(rates.items())).name


def _add_groups(groups: Mapping[str, tuple[str, ...]], prefix: str, form: str) -> list[str]:
    return [
        _add_mixture(f"{prefix}_{group}_{form}", [f"mmlu_{each}_{form}" for each in subjects])
        for group, subjects in groups.items()
    ]


def _register(form: str) -> None:
    _add_tasks(mmlu.SETS, form)
    groups = _add_groups(mmlu.GROUPS, "mmlu", form)
    whole = _add_mixture(f"mmlu_{form}", groups)
    changed = {g: s for g, s in mmlu.LM_EVAL_GROUPS.items() if s != mmlu.GROUPS[g]}
    theirs = _add_groups(changed, "mmlu_lm_eval", form)
    same = [f"mmlu_{group}_{form}" for group in mmlu.GROUPS if group not in changed]
    _add_mixture(f"mmlu_lm_eval_{form}", [*theirs, *same])
    parts = {
        "paper": [whole, *_add_tasks(sets.PAPER, form)],
        "commonsense": _add_tasks(sets.COMMONSENSE, form),
        "inference": _add_tasks(sets.INFERENCE, form),
        "exams": _add_tasks(sets.EXAMS, form),
    }
    mixtures = [_add_mixture(f"{part}_evaluation_{form}", names) for part, names in parts.items()]
    _add_mixture(f"all_evaluation_{form}", mixtures)
    _add_task(sets.COS_E, form)


for _form in forms.FORMS:
    _register(_form)
_add_task(sets.ECQA_DOUBLED, "letters")
