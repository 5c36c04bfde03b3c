"""A template: how a sample becomes an input and a target, as data.

Placeholders are the sample's fields by name, and four that are made from its answer and options:

    {answer}           the right answer's text
    {options}          the options, one a line, each after "- "
    {lettered_options} the options in one line: "(A) yes (B) no"
    {letter}           the right option's letter

A literal brace is doubled, as in `str.format`. What is filled in is never looked at again, so texts
may hold braces.
"""

from __future__ import annotations

import dataclasses
import string

from teacherlm_jax.tasks.catalogue.dataset import Sample

ANSWER = "answer"
OF_OPTIONS = ("options", "lettered_options", "letter")
MADE = (ANSWER, *OF_OPTIONS)
"""Placeholders that every sample has, or every one with options; no field is called so."""


@dataclasses.dataclass(frozen=True)
class Template:
    """How a sample is told.

    Attributes:
      name: differs from the others' of the data set; stays when the words change.
      inputs: what the model is given.
      targets: what it is to write; names at least one placeholder.
      is_inverted: whether it asks for a text that the sample's answer is given for, such as the
        question of an answer.

    Raises:
      ValueError: white space at an end, a placeholder that is no plain name, or targets that are
        the same for every sample.
    """

    name: str
    inputs: str
    targets: str
    is_inverted: bool = False

    def __post_init__(self) -> None:
        for part, words in (("inputs", self.inputs), ("targets", self.targets)):
            if not words or words != words.strip():
                raise ValueError(
                    f"template {self.name!r} has {part} {words!r}: they may neither be empty nor"
                    " begin or end with white space; take it away."
                )
            _names(self.name, words)
        if not _names(self.name, self.targets):
            raise ValueError(
                f"template {self.name!r} has targets {self.targets!r}, the same for every sample:"
                " name a placeholder, such as {answer}."
            )

    @property
    def placeholders(self) -> frozenset[str]:
        """The names that inputs and targets fill in."""
        return _names(self.name, self.inputs) | _names(self.name, self.targets)

    @property
    def shows_options(self) -> bool:
        """Whether the inputs list what can be answered."""
        return not _names(self.name, self.inputs).isdisjoint(("options", "lettered_options"))


def render(template: Template, sample: Sample) -> tuple[str, str]:
    """The input and the target of a sample.

    Raises:
      ValueError: the template names what the sample does not have.
    """
    known = values(sample)
    unknown = sorted(template.placeholders - known.keys())
    if unknown:
        raise ValueError(
            f"template {template.name!r} names {unknown}, but the sample has {sorted(known)}:"
            " name those only."
        )
    return template.inputs.format_map(known), template.targets.format_map(known)


def values(sample: Sample) -> dict[str, str]:
    """What placeholders stand for; those of options only where the sample has some."""
    clash = sorted(set(MADE) & set(sample.fields))
    if clash:
        raise ValueError(
            f"the sample has fields {clash}, which are names of placeholders: rename the fields."
        )
    known = {**sample.fields, ANSWER: sample.answer}
    if sample.options:
        letters = [letter_of(place) for place in range(len(sample.options))]
        lettered = zip(letters, sample.options, strict=True)
        known["options"] = "\n".join(f"- {option}" for option in sample.options)
        known["lettered_options"] = " ".join(f"({letter}) {option}" for letter, option in lettered)
        place = sample.answer_index
        known["letter"] = letters[sample.options.index(sample.answer) if place is None else place]
    return known


def letter_of(place: int) -> str:
    """A, B, … Z, AA, AB, …: ReCoRD has rows with more than 26 options."""
    letters = string.ascii_uppercase
    if place < len(letters):
        return letters[place]
    return letter_of(place // len(letters) - 1) + letters[place % len(letters)]


def _names(template: str, words: str) -> frozenset[str]:
    names = set()
    for _, name, specification, conversion in string.Formatter().parse(words):
        if name is None:
            continue
        if not name.isidentifier() or specification or conversion:
            raise ValueError(
                f"template {template!r} has a placeholder {{{name}}}, which is no plain name: write"
                " the name alone, and double a brace that is meant as one."
            )
        names.add(name)
    return frozenset(names)
