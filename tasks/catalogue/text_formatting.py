"""English sentences of ParaCrawl, damaged and to be mended.

The three tasks read slices of one data set that share no row.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Dataset, Sample, define
from teacherlm_jax.tasks.catalogue.reading import part, text


def _lower(sentence: str) -> str:
    return sentence.lower()


def _without_punctuation(sentence: str) -> str:
    bare = "".join(char for char in sentence if unicodedata.category(char)[0] != "P")
    return " ".join(bare.split())


def _without_spaces(sentence: str) -> str:
    return "".join(sentence.split())


def _reader(field: str, damage: Callable[[str], str]) -> Callable[[Any], Sample | None]:
    def read(row: Mapping[str, Any]) -> Sample | None:
        sentence = text(part(row, "translation") if "translation" in row else row, "en")
        damaged = damage(sentence)
        # Where nothing is damaged, or nothing is left, there is nothing to mend.
        if damaged in ("", sentence):
            return None
        return Sample({field: damaged}, sentence)

    return read


def _define(
    name: str, first: int, field: str, damage: Callable[[str], str], question: str
) -> Dataset:
    last = first + 30_000
    return define(
        name=name,
        tfds="para_crawl/enda:1.2.0",
        hub="ParaCrawl/para_crawl/enda",
        splits={
            "train": f"train[{first}:{last}]",
            "validation": f"train[{last}:{last + 200}]",
            "test": "train[-3000:]",
        },
        counts={"train": 2_414_895},
        read=_reader(field, damage),
        question=question,
        reconstructed="which characters count as punctuation" if field == "bare" else "",
    )


TRUE_CASE = _define(
    "true_case", 0, "lower", _lower, "How is this written with capital letters? {lower}"
)
FIX_PUNCT = _define(
    "fix_punct", 30_200, "bare", _without_punctuation, "How is this punctuated? {bare}"
)
WORD_SEGMENT = _define(
    "word_segment", 60_400, "joined", _without_spaces, "Where do words end here? {joined}"
)
