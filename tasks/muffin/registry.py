"""seqio tasks of Muffin: FLAN v1's 70 as `muffin_NAME`, and the mixture `muffin_3w`.

`task` and `mixture` register variants, under names that their arguments decide, and return the
names, so that gin can call them where a name is asked for:

    muffin_rte                             the defaults: at most 30,000 rows, every template
    muffin_rte_max3000_forward_seed1       at most 3,000 rows, no inverted templates, another seed
    muffin_3w, muffin_3w_max3000, ...      the 62, where those of several tasks share their cap
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import seqio

from teacherlm_jax.data import split_slices
from teacherlm_jax.data.row_rendering import RawRow, RowError
from teacherlm_jax.tasks import capping, text_tasks
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, samples
from teacherlm_jax.tasks.muffin.flan_tasks import FLAN_TASKS, FlanTask, the_62
from teacherlm_jax.tasks.muffin.template import Template, render, values
from teacherlm_jax.tasks.muffin.templates import TEMPLATES

MAX_EXAMPLES = 30_000
"""Of each data set: the 3W of Muffin-3W."""

SPLITS = ("train", "validation")
TEMPLATE_CHOICES = ("all", "forward")


def task(name: str, max_examples: int = MAX_EXAMPLES, templates: str = "all", seed: int = 0) -> str:
    """Registers a task where it is not yet, and returns its name in the registry.

    A row is told by one template, which the seed, the data set's name and the row's place in its
    split decide: the same in every epoch and every run.

    Args:
      name: FLAN's, a key of `FLAN_TASKS`.
      max_examples: most rows of the split "train", a fixed part that the seed decides.
      templates: "all", or "forward" for those that ask for the answer.
      seed: of the part and of the templates.

    Raises:
      ValueError: an argument is not as said.
    """
    if name not in FLAN_TASKS:
        raise ValueError(f"name = {name!r}, but it must be one of {sorted(FLAN_TASKS)}.")
    registered = f"muffin_{name}{_suffix(max_examples, templates, seed)}"
    if registered in seqio.TaskRegistry.names():
        return registered
    flan_task = FLAN_TASKS[name]
    dataset = DATASETS[flan_task.dataset]
    splits = {split: dataset.splits[split] for split in SPLITS if split in dataset.splits}
    text_tasks.add_training_task(
        registered,
        text_tasks.source(
            dataset,
            splits=splits or dataset.splits,  # WSC273 has test rows alone.
            max_examples={"train": max_examples} if "train" in splits else {},
            cap_seed=seed,
        ),
        functools.partial(
            examples, task=flan_task, templates=_chosen(flan_task, templates), seed=seed
        ),
    )
    return registered


def mixture(max_examples: int = MAX_EXAMPLES, templates: str = "all", seed: int = 0) -> str:
    """Registers Muffin's 62 data sets where they are not yet, and returns the mixture's name.

    Rates are the rows of each after its cap, so that an epoch is a pass over all. Where several
    tasks are one of the 62, they share its cap in proportion to their rows.

    Args:
      max_examples: most rows of each of the 62.
      templates: see `task`.
      seed: see `task`.

    Raises:
      ValueError: an argument is not as said.
    """
    name = f"muffin_3w{_suffix(max_examples, templates, seed)}"
    if name not in seqio.MixtureRegistry.names():
        rates = [
            (task(each, cap, templates, seed), float(rows))
            for each, (rows, cap) in _rows_and_caps(max_examples).items()
        ]
        seqio.MixtureRegistry.add(name, rates)
    return name


def capped_rows(max_examples: int = MAX_EXAMPLES) -> dict[str, int]:
    """Name of each task of the 62 -> its training rows after the caps, by the public tables."""
    return {name: rows for name, (rows, _) in _rows_and_caps(max_examples).items()}


def _rows_and_caps(max_examples: int) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for tasks in the_62().values():
        rows = [training_rows(each) for each in tasks]
        shares = capping.shares(rows, max_examples)
        # Tasks that have to share have a cap of their own; the others are those of the defaults.
        must_share = len(tasks) > 1 and sum(rows) > max_examples
        for each, share in zip(tasks, shares, strict=True):
            found[each.name] = (share, share if must_share else max_examples)
    return found


def training_rows(task: FlanTask) -> int:
    """Rows of the split "train" before any cap, by the public tables.

    Raises:
      ValueError: the catalogue does not have their count.
    """
    dataset = DATASETS[task.dataset]
    rows = split_slices.count(dataset.splits["train"], dataset.counts)
    if not rows:
        raise ValueError(
            f"{dataset.name}: the catalogue has counts {dict(dataset.counts)}, which do not say how"
            f" many rows {dataset.splits['train']!r} has: add the count of the whole split."
        )
    return rows


def examples(
    row: RawRow, task: FlanTask, templates: Sequence[Template], seed: int
) -> Iterator[Mapping[str, str]]:
    """The examples of a row, one a sample; none where the row is left out.

    Raises:
      RowError: every template names a field that a sample does not have.
    """
    for place, sample in enumerate(samples(DATASETS[task.dataset], row.values)):
        if task.keep is not None and not task.keep(sample):
            continue
        number = f"{row.index}.{place}" if place else str(row.index)
        known = values(sample).keys()
        fitting = [each for each in templates if each.placeholders <= known]
        if not fitting:
            missing = sorted(frozenset.union(*(each.placeholders for each in templates)) - known)
            raise RowError(f"the row has none of {missing}, and every template names one of them.")
        template = fitting[capping.draw(seed, task.dataset, number) % len(fitting)]
        inputs, targets = render(template, sample)
        id_ = f"{task.name}:{number}:{template.name}"
        yield {"id": id_, "inputs": inputs, "targets": targets}


def _chosen(task: FlanTask, templates: str) -> tuple[Template, ...]:
    every = TEMPLATES[task.dataset]
    return every if templates == "all" else tuple(each for each in every if not each.is_inverted)


def _suffix(max_examples: int, templates: str, seed: int) -> str:
    capping.check(max_examples, seed)
    if templates not in TEMPLATE_CHOICES:
        raise ValueError(f"templates = {templates!r}, but it must be one of {TEMPLATE_CHOICES}.")
    parts = [f"_max{max_examples}"] if max_examples != MAX_EXAMPLES else []
    parts += ["_forward"] if templates == "forward" else []
    parts += [f"_seed{seed}"] if seed else []
    return "".join(parts)


def _register_all() -> Iterator[str]:
    for name in FLAN_TASKS:
        yield task(name)
    yield mixture()


NAMES = tuple(_register_all())
"""What importing this module registers."""
