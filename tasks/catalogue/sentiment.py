"""Does a text praise or complain?"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import by_label, number, row_id, text, unescaped

NEGATIVE_OR_POSITIVE = ("negative", "positive")


def _labelled(row: Mapping[str, Any], name: str, field: str) -> Sample | None:
    answer = by_label(row, "label", NEGATIVE_OR_POSITIVE)
    words = _without_marks(text(row, name))
    if answer is None or not words:
        return None
    return Sample({field: words}, answer, NEGATIVE_OR_POSITIVE, row_id(row, "idx"))


def _without_marks(words: str) -> str:
    """IMDB's line breaks are HTML; Yelp's texts are escaped."""
    return unescaped(re.sub(r"(<br\s*/?>\s*)+", "\n", words))


def _tweet(row: Mapping[str, Any]) -> Sample | None:
    polarity = number(row, "polarity", "sentiment", least=0, most=4)
    tweet = text(row, "text")
    # The 2 of some test rows is neither: FLAN calls it negative, which it is not.
    if polarity == 2 or not tweet:
        return None
    return Sample({"tweet": tweet}, NEGATIVE_OR_POSITIVE[polarity > 2], NEGATIVE_OR_POSITIVE)


IMDB = define(
    name="imdb_reviews",
    tfds="imdb_reviews/plain_text:1.0.0",
    hub="stanfordnlp/imdb",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 25_000, "test": 25_000, "unsupervised": 50_000},
    read=functools.partial(_labelled, name="text", field="review"),
    question="{review}\nWhat is the sentiment of this film review?",
)

SENTIMENT140 = define(
    name="sentiment140",
    tfds="sentiment140:1.0.0",
    hub="stanfordnlp/sentiment140",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 1_600_000, "test": 498},
    read=_tweet,
    question="{tweet}\nWhat is the sentiment of this tweet?",
    reconstructed="neutral tweets, which FLAN calls negative, are left out",
)

YELP = define(
    name="yelp_polarity_reviews",
    tfds="yelp_polarity_reviews:0.2.0",
    hub="fancyzhx/yelp_polarity",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 560_000, "test": 38_000},
    read=functools.partial(_labelled, name="text", field="review"),
    question="{review}\nWhat is the sentiment of this review?",
)

SST2 = define(
    name="glue_sst2",
    tfds="glue/sst2:2.0.0",
    hub="nyu-mll/glue/sst2",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
    counts={"train": 67_349, "validation": 872, "test": 1_821},
    read=functools.partial(_labelled, name="sentence", field="sentence"),
    question='What is the sentiment of "{sentence}"?',
)
