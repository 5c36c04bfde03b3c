"""Articles of Wikipedia: of which kind is their subject, and how does a life begin?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import by_label, part, text, texts

CLASSES = (
    "Company",
    "Educational Institution",
    "Artist",
    "Athlete",
    "Office Holder",
    "Mean Of Transportation",
    "Building",
    "Natural Place",
    "Village",
    "Animal",
    "Plant",
    "Album",
    "Film",
    "Written Work",
)
NOTHING = "<none>"
"""What tables of WikiBio hold where an article leaves a line open."""


def _dbpedia(row: Mapping[str, Any]) -> Sample | None:
    kind = by_label(row, "label", CLASSES)
    fields = {"title": text(row, "title"), "content": text(row, "content")}
    return Sample(fields, kind, CLASSES) if kind and all(fields.values()) else None


def _wiki_bio(row: Mapping[str, Any]) -> Sample | None:
    given = part(row, "input_text")
    table = part(given, "table")
    headers, contents = texts(table, "column_header"), texts(table, "content")
    if len(headers) != len(contents):
        raise RowError(f"the table has {len(headers)} headers and {len(contents)} contents.")
    lines = [
        f"{header.replace('_', ' ')}: {content}"
        for header, content in zip(headers, contents)
        if header and content not in ("", NOTHING)
    ]
    fields = {"person": text(given, "context"), "facts": "\n".join(lines)}
    answer = text(row, "target_text")
    return Sample(fields, answer) if all([*fields.values(), answer]) else None


DBPEDIA_14 = define(
    name="dbpedia_14",
    hub="fancyzhx/dbpedia_14",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 560_000, "test": 70_000},
    read=_dbpedia,
    question="{title}: {content}\nOf which kind is this?",
)

WIKI_BIO = define(
    name="wiki_bio",
    tfds="wiki_bio:0.1.0",
    hub="michaelauli/wiki_bio",
    splits={"train": "train", "validation": "validation", "test": "test"},
    counts={"train": 582_659, "validation": 72_831, "test": 72_829},
    read=_wiki_bio,
    question="What sentence could begin an article on the person of this table?\n{facts}",
    reconstructed="names of columns are told without underscores, and empty lines left out",
)
