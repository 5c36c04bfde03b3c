"""Whom or what does a pronoun, or a gap, stand for?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Dataset, Sample, define
from teacherlm_jax.tasks.catalogue.reading import (
    as_whole_number,
    by_label,
    chosen,
    number,
    row_id,
    text,
    texts,
    value,
)

NO_OR_YES = ("no", "yes")


def _definite_pronoun(row: Mapping[str, Any]) -> Sample | None:
    fields = {"sentence": text(row, "sentence"), "pronoun": text(row, "pronoun")}
    return chosen(fields, texts(row, "candidates"), value(row, "label"))


def _winogrande(row: Mapping[str, Any]) -> Sample | None:
    options = [text(row, "option1"), text(row, "option2")]
    fields = {"sentence": text(row, "sentence")}
    if "label" in row:
        return chosen(fields, options, row["label"])
    # The hub's answers are "1" and "2", and "" where they are hidden.
    if value(row, "answer") == "":
        return None
    place = number(row, "answer", least=1, most=2) - 1
    return Sample(fields, options[place], tuple(options), answer_index=place)


def _wsc(row: Mapping[str, Any]) -> Sample | None:
    """Does the pronoun (span 2, counted in words) stand for the noun (span 1)?"""
    answer = by_label(row, "label", NO_OR_YES)
    if answer is None:
        return None
    pronoun, words = text(row, "span2_text"), text(row, "text").split()
    place = as_whole_number(value(row, "span2_index"))
    if place is None or not 0 <= place < len(words):
        raise RowError(
            f"field 'span2_index' is {row['span2_index']!r:.80}; there are {len(words)} words."
        )
    fields = {
        "text": " ".join(_marked(words, pronoun, place)),
        "noun": " ".join(text(row, "span1_text").split()),
        "pronoun": pronoun,
    }
    return Sample(fields, answer, NO_OR_YES, row_id(row, "idx"))


def _marked(words: list[str], pronoun: str, place: int) -> list[str]:
    """With asterisks around the pronoun, which often stands in a text twice.

    A few of the public places are off by some words: the nearest such word is the one.
    """
    pattern = re.compile(rf"(?<!\w)({re.escape(pronoun)})(?!\w)", re.IGNORECASE)
    found = [number for number, word in enumerate(words) if pattern.search(word)]
    if not found:
        return words
    nearest = min(found, key=lambda number: abs(number - place))
    return [
        pattern.sub(r"*\1*", word, count=1) if number == nearest else word
        for number, word in enumerate(words)
    ]


def _wsc273(row: Mapping[str, Any]) -> Sample | None:
    sentence, pronoun = value(row, "text"), value(row, "pronoun_text", "pronoun")
    if not isinstance(sentence, str) or not isinstance(pronoun, str):
        raise RowError(f"text and pronoun are {(sentence, pronoun)!r:.80}; they must be texts.")
    start = number(row, "pronoun_start", "pronoun_loc", least=0, most=len(sentence))
    if sentence[start : start + len(pronoun)] != pronoun:
        raise RowError(f"the pronoun {pronoun!r} is not at {start} of {sentence!r:.80}.")
    marked = f"{sentence[:start]}*{pronoun}*{sentence[start + len(pronoun) :]}"
    if "options" in row:
        options = texts(row, "options")
    else:
        options = [text(row, "option1"), text(row, "option2")]
    fields = {"text": marked.strip(), "pronoun": pronoun.strip()}
    return chosen(fields, options, value(row, "label"), id=row_id(row, "idx"))


def _define_wsc(name: str, config: str, reconstructed: str) -> Dataset:
    return define(
        name=name,
        tfds=f"super_glue/{config}:1.0.2",
        hub=f"aps/super_glue/{config}",
        splits={"train": "train[:-50]", "validation": "train[-50:]", "test": "validation"},
        counts={"train": 554, "validation": 104, "test": 146},
        read=_wsc,
        question='{text}\nDoes "*{pronoun}*" stand for "{noun}"?',
        reconstructed=reconstructed,
    )


DEFINITE_PRONOUN = define(
    name="definite_pronoun_resolution",
    tfds="definite_pronoun_resolution:1.1.0",
    hub="community-datasets/definite_pronoun_resolution",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 1_322, "test": 564},
    read=_definite_pronoun,
    question='{sentence}\nWhom or what does "{pronoun}" stand for?',
)

WINOGRANDE = define(
    name="winogrande",
    tfds="winogrande:1.2.0",
    hub="allenai/winogrande/winogrande_xl",
    splits={
        "train": "train_xl[:-200]",
        "validation": "train_xl[-200:]",
        "test": "validation",
    },
    counts={
        "train_xs": 160,
        "train_s": 640,
        "train_m": 2_558,
        "train_l": 10_234,
        "train_xl": 40_398,
        "validation": 1_267,
        "test": 1_767,
    },
    read=_winogrande,
    question="{sentence}\nWhat belongs in the gap (_)?",
    reconstructed="FLAN pins 1.1.0, which TFDS has no longer; 1.2.0 has an updated file",
)

WSC = _define_wsc(
    "super_glue_wsc", "wsc", "FLAN's paper counts WSC273, which has no rows to train on"
)
WSC_FIXED = _define_wsc("super_glue_wsc_fixed", "wsc.fixed", "")

WSC273 = define(
    name="wsc273",
    tfds="wsc273:1.0.0",
    hub="lighteval/winograd_wsc/wsc273",
    splits={"test": "test"},
    counts={"test": 273},
    read=_wsc273,
    question='{text}\nWhom or what does "*{pronoun}*" stand for?',
)
