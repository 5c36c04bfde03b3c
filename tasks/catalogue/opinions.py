"""Reviews of P3 that FLAN does not have: is the writer pleased, and how much?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import by_label, number, text, unescaped

NEGATIVE_OR_POSITIVE = ("negative", "positive")
STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")


def _amazon(row: Mapping[str, Any]) -> Sample | None:
    mood = by_label(row, "label", NEGATIVE_OR_POSITIVE)
    fields = {"title": text(row, "title"), "review": text(row, "content")}
    if mood is None or not all(fields.values()):
        return None
    return Sample(fields, mood, NEGATIVE_OR_POSITIVE)


def _app(row: Mapping[str, Any]) -> Sample | None:
    star = number(row, "star", least=1, most=len(STARS))
    fields = {"app": text(row, "package_name"), "review": text(row, "review")}
    return Sample(fields, STARS[star - 1], STARS) if all(fields.values()) else None


def _film(row: Mapping[str, Any]) -> Sample | None:
    mood, review = by_label(row, "label", NEGATIVE_OR_POSITIVE), text(row, "text")
    return Sample({"review": review}, mood, NEGATIVE_OR_POSITIVE) if mood and review else None


def _yelp(row: Mapping[str, Any]) -> Sample | None:
    stars = by_label(row, "label", STARS)
    review = unescaped(text(row, "text"))
    return Sample({"review": review}, stars, STARS) if stars and review else None


# TFDS's amazon_us_reviews is another data set, and so is its opinion_abstracts/rotten_tomatoes.
AMAZON_POLARITY = define(
    name="amazon_polarity",
    hub="fancyzhx/amazon_polarity",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 3_600_000, "test": 400_000},
    read=_amazon,
    question="{title}\n{review}\nWhat is the sentiment of this review of a product?",
)

APP_REVIEWS = define(
    name="app_reviews",
    hub="sealuzh/app_reviews",
    splits={"train": "train[:-200]", "validation": "train[-200:]"},
    counts={"train": 288_065},
    read=_app,
    question="{review}\nHow many stars does this review give the app?",
)

ROTTEN_TOMATOES_REVIEWS = define(
    name="rotten_tomatoes",
    hub="cornell-movie-review-data/rotten_tomatoes",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 8_530, "validation": 1_066, "test": 1_066},
    read=_film,
    question="{review}\nWhat is the sentiment of this line about a film?",
)

YELP_REVIEW_FULL = define(
    name="yelp_review_full",
    hub="Yelp/yelp_review_full",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 650_000, "test": 50_000},
    read=_yelp,
    question="{review}\nHow many stars does this review give?",
)
