"""English and another language, sentence by sentence.

Rows with nothing on one side, of which crawled corpora have some, are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Dataset, Sample, define
from teacherlm_jax.tasks.catalogue.reading import part, text

LANGUAGES = {
    "cs": "Czech",
    "de": "German",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "ro": "Romanian",
    "ru": "Russian",
    "tr": "Turkish",
}


def _read(row: Mapping[str, Any], code: str) -> Sample | None:
    pair = part(row, "translation") if "translation" in row else row
    english, other = text(pair, "en"), text(pair, code)
    if not english or not other:
        return None
    return Sample({"english": english, "language": LANGUAGES[code]}, other)


def _define(name: str, code: str, tfds: str, hub: str, **attributes: Any) -> Dataset:
    attributes.setdefault("splits", {"train": "train", "validation": "validation", "test": "test"})
    return define(
        name=name,
        tfds=tfds,
        hub=hub,
        read=functools.partial(_read, code=code),
        question=f"What is this in {LANGUAGES[code]}? {{english}}",
        **attributes,
    )


PARA_CRAWL_ENES = _define(
    "para_crawl_enes",
    "es",
    "para_crawl/enes:1.2.0",
    "ParaCrawl/para_crawl/enes",
    splits={
        "train": "train[:-1200]",
        "validation": "train[-1200:-1000]",
        "test": "train[-1000:]",
    },
    counts={"train": 21_987_267},
)

WMT14_ENFR = _define(
    "wmt14_enfr",
    "fr",
    "wmt14_translate/fr-en:1.0.0",
    "wmt/wmt14/fr-en",
    counts={"train": 40_836_715, "validation": 3_000, "test": 3_003},
)

WMT16_DEEN = _define(
    "wmt16_translate_deen",
    "de",
    "wmt16_translate/de-en:1.0.0",
    "wmt/wmt16/de-en",
    counts={"train": 4_548_885, "validation": 2_169, "test": 2_999},
)

WMT16_TREN = _define(
    "wmt16_translate_tren",
    "tr",
    "wmt16_translate/tr-en:1.0.0",
    "wmt/wmt16/tr-en",
    counts={"train": 205_756, "validation": 1_001, "test": 3_000},
)

WMT16_CSEN = _define(
    "wmt16_translate_csen",
    "cs",
    "wmt16_translate/cs-en:1.0.0",
    "wmt/wmt16/cs-en",
    counts={"train": 52_335_651, "validation": 2_656, "test": 2_999},
    manual=(
        "czeng16pre.deduped-ignoring-sections.txt.gz of CzEng 1.6pre, which"
        " http://ufal.mff.cuni.cz/czeng/czeng16pre gives after registration, goes into the manual"
        " folder as it is; the hub's files have 997,240 training rows, since they lack it"
    ),
)

WMT16_FIEN = _define(
    "wmt16_translate_fien",
    "fi",
    "wmt16_translate/fi-en:1.0.0",
    "wmt/wmt16/fi-en",
    counts={"train": 2_073_394, "validation": 1_370, "test": 6_000},
)

WMT16_ROEN = _define(
    "wmt16_translate_roen",
    "ro",
    "wmt16_translate/ro-en:1.0.0",
    "wmt/wmt16/ro-en",
    counts={"train": 610_320, "validation": 1_999, "test": 1_999},
)

WMT16_RUEN = _define(
    "wmt16_translate_ruen",
    "ru",
    "wmt16_translate/ru-en:1.0.0",
    "wmt/wmt16/ru-en",
    counts={"train": 2_516_162, "validation": 2_818, "test": 2_998},
    manual=(
        "1mcorpus.zip, Yandex's corpus of a million sentence pairs"
        " (https://translate.yandex.ru/corpus?lang=en, on request), goes into the manual folder as"
        " it is; the hub's files have 1,516,162 training rows, since they lack it"
    ),
)
