"""seqio tasks of P3, capped: P3-Sense-3K, once by data sets and once by prompts.

`task` and `mixture` register variants, under names that their arguments decide, and return the
names, so that gin can call them where a name is asked for:

    p3_dream                       at most 3,000 examples of the data set, every prompt
    p3_dream_overheard             at most 3,000 examples of one prompt, drawn apart from others
    p3_dream_max500_seed1          other arguments
    p3_sense_3k                    the 58 data sets
    p3_sense_3k_by_prompt          all of their prompts

What a row is told as depends on the seed, the data set and the row's place alone, so it is the same
in every epoch and every run.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import seqio
from etils import epath

from teacherlm_jax.data.row_rendering import RawRow
from teacherlm_jax.tasks import capping, exclusions, text_tasks
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, samples
from teacherlm_jax.tasks.exclusions import Exclusions
from teacherlm_jax.tasks.muffin.template import Template, render, values
from teacherlm_jax.tasks.p3 import p3_sets
from teacherlm_jax.tasks.p3.templates import TEMPLATES

MAX_EXAMPLES = 3_000
"""Of each data set, or of each prompt: the 3K of P3-Sense-3K."""

CAP_LEVELS = ("dataset", "prompt")


def task(
    name: str,
    prompt: str | None = None,
    max_examples: int = MAX_EXAMPLES,
    seed: int = 0,
    excluded_ids: epath.PathLike | None = None,
) -> str:
    """Registers a task where it is not yet, and returns its name in the registry.

    Args:
      name: in the catalogue; one of `p3_sets.PARTS`.
      prompt: name of one of its prompts; None: a row gets one of all, drawn by the seed.
      max_examples: most examples of a split, a fixed part that the seed, the name and the prompt
        decide.
      seed: of the part and of the prompts.
      excluded_ids: file with samples to leave out, as `exclusions` says.

    Raises:
      ValueError: an argument is not as said.
    """
    if name not in p3_sets.PARTS:
        raise ValueError(f"name = {name!r}, but it must be one of {sorted(p3_sets.PARTS)}.")
    prompts = [each.name for each in TEMPLATES[name]]
    if prompt is not None and prompt not in prompts:
        raise ValueError(f"prompt = {prompt!r}, but {name} has {prompts}.")
    return _task(name, prompt, max_examples, seed, exclusions.read(excluded_ids))


def mixture(
    cap_level: str = "dataset",
    max_examples: int = MAX_EXAMPLES,
    seed: int = 0,
    excluded_ids: epath.PathLike | None = None,
) -> str:
    """Registers the mixture of all where it is not yet, and returns its name.

    Rates are the examples of each after its cap, so that an epoch is a pass over all. ANLI's three
    rounds share a cap by data set in proportion to their rows.

    Args:
      cap_level: "dataset": `max_examples` of a data set; "prompt": of each of its prompts.
      max_examples: see `task`.
      seed: see `task`.
      excluded_ids: see `task`.

    Raises:
      ValueError: an argument is not as said.
    """
    if cap_level not in CAP_LEVELS:
        raise ValueError(f"cap_level = {cap_level!r}, but it must be one of {CAP_LEVELS}.")
    excluded = exclusions.read(excluded_ids)
    by_prompt = cap_level == "prompt"
    name = (
        "p3_sense_3k"
        + "_by_prompt" * by_prompt
        + capping.suffix(max_examples, MAX_EXAMPLES, seed)
        + excluded.suffix
    )
    if name not in seqio.MixtureRegistry.names():
        counted = _by_prompt(max_examples) if by_prompt else _by_dataset(max_examples)
        rates = [
            (_task(part, prompt, cap, seed, excluded), float(count))
            for part, prompt, cap, count in counted
        ]
        seqio.MixtureRegistry.add(name, rates)
    return name


def _by_dataset(most: int) -> Iterator[tuple[str, None, int, int]]:
    """Each part, its cap, and its examples after it."""
    for p3_set in p3_sets.P3_SETS:
        counts = [p3_sets.training_samples(part) for part in p3_set.parts]
        must_share = len(counts) > 1 and sum(counts) > most
        for part, count in zip(p3_set.parts, capping.shares(counts, most), strict=True):
            if count:
                yield part, None, count if must_share else most, count


def _by_prompt(most: int) -> Iterator[tuple[str, str, int, int]]:
    for part in p3_sets.PARTS:
        for template in TEMPLATES[part]:
            counts = [p3_sets.training_samples(part)]
            for field in template.placeholders:
                counts += [p3_sets.SAMPLES_WITH_FIELD.get((part, field), counts[0])]
            yield part, template.name, most, min(most, *counts)


def _task(name: str, prompt: str | None, most: int, seed: int, excluded: Exclusions) -> str:
    excluded = excluded.of(name)
    variant = f"p3_{name}" + (f"_{prompt}" if prompt else "")
    registered = variant + capping.suffix(most, MAX_EXAMPLES, seed) + excluded.suffix
    if registered in seqio.TaskRegistry.names():
        return registered
    dataset = DATASETS[name]
    chosen = [each for each in TEMPLATES[name] if prompt in (None, each.name)]
    leaves_out = prompt is not None or excluded.ids
    rows = most * (p3_sets.ROWS_PER_EXAMPLE.get(name, 1) if leaves_out else 1)
    splits = p3_sets.splits(dataset)
    text_tasks.add_training_task(
        registered,
        text_tasks.source(
            dataset,
            splits=splits,
            max_examples=dict.fromkeys(splits, rows),
            cap_seed=seed,
            cap_name=variant,
        ),
        functools.partial(
            examples, name=name, templates=tuple(chosen), seed=seed, excluded=excluded
        ),
        capping.at_most(most, seed, variant),
    )
    return registered


def examples(
    row: RawRow, name: str, templates: Sequence[Template], seed: int, excluded: Exclusions
) -> Iterable[Mapping[str, Any]]:
    """The examples of a row: one of each sample, which a prompt that fits it tells."""
    for number, sample in enumerate(samples(DATASETS[name], row.values)):
        known = values(sample).keys()
        fitting = [each for each in templates if each.placeholders <= known]
        if not fitting or excluded.hold(name, sample):
            continue
        template = fitting[capping.draw(seed, name, row.index, number) % len(fitting)]
        inputs, targets = render(template, sample)
        place = f"{row.index}.{number}" if number else str(row.index)
        yield {"id": f"{name}:{place}:{template.name}", "inputs": inputs, "targets": targets}


def _register_all() -> Iterator[str]:
    for part in p3_sets.PARTS:
        yield task(part)
        for template in TEMPLATES[part]:
            yield task(part, template.name)
    yield from (mixture(cap_level) for cap_level in CAP_LEVELS)


NAMES = tuple(_register_all())
"""What importing this module registers."""
