"""Long text -> short text, and the news topics that FLAN keeps beside it.

A row with nothing on one of its sides (newsroom, gigaword, XSum and MultiNews have some) is left
out: there is nothing to learn from it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample, define
from teacherlm_jax.tasks.catalogue.reading import by_label, row_id, text, value

NEWS_TOPICS = ("World", "Sports", "Business", "Science/Tech")
MOST_OPINIONS = 10
"""Reviews or arguments of a row that are shown; more hardly fit into a prompt."""


def _summary(row: Mapping[str, Any], document: str, summary: str, name: str) -> Sample | None:
    """A document, called `name` in templates, and its summary."""
    fields, answer = {name: text(row, document)}, text(row, summary)
    if not fields[name] or not answer:
        return None
    return Sample(fields, answer, id=row_id(row, "id", "gem_id"))


def _titled(row: Mapping[str, Any]) -> Sample | None:
    fields = {"title": text(row, "title"), "article": text(row, "text")}
    answer = text(row, "summary")
    return Sample(fields, answer) if all([*fields.values(), answer]) else None


def _several_articles(row: Mapping[str, Any]) -> Sample | None:
    """MultiNews: one text holds all of the articles, between bars."""
    articles = (article.strip() for article in text(row, "document").split("|||||"))
    joined = "\n\n".join(article for article in articles if article)
    answer = text(row, "summary")
    return Sample({"articles": joined}, answer) if joined and answer else None


def _topic(row: Mapping[str, Any]) -> Sample | None:
    answer = by_label(row, "label", NEWS_TOPICS)
    if answer is None:
        return None
    # The hub's files hold title and description as one text, joined like this.
    parts = ("title", "description") if "title" in row else ("text",)
    article = " ".join(text(row, part) for part in parts)
    return Sample({"article": article}, answer, NEWS_TOPICS)


def _opinions(
    row: Mapping[str, Any], subject: str, opinions: str, summary: str, names: tuple[str, str]
) -> Sample | None:
    """What many said of a subject, numbered, and what that comes to."""
    entries = value(row, opinions)
    if isinstance(entries, Mapping):
        entries = entries.get("value")
    elif isinstance(entries, list):
        entries = [entry.get("value") for entry in entries if isinstance(entry, Mapping)]
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise RowError(f"field {opinions!r} is {row[opinions]!r:.80}; it must hold texts.")
    said = [" ".join(entry.split()) for entry in entries if entry.strip()][:MOST_OPINIONS]
    numbered = "\n".join(f"{number}. {entry}" for number, entry in enumerate(said, start=1))
    fields = dict(zip(names, (text(row, subject), numbered), strict=True))
    answer = text(row, summary)
    return Sample(fields, answer) if all([*fields.values(), answer]) else None


def _three_splits(validation: int, test: int, train: int) -> dict[str, Any]:
    return {
        "splits": {"train": "train", "validation": "validation", "test": "test"},
        "counts": {"train": train, "validation": validation, "test": test},
    }


AESLC = define(
    name="aeslc",
    tfds="aeslc:1.0.0",
    hub="Yale-LILY/aeslc",
    **_three_splits(1_960, 1_906, 14_436),
    read=functools.partial(_summary, document="email_body", summary="subject_line", name="email"),
    question="What is a good subject line for this email?\n{email}",
)

CNN_DAILYMAIL = define(
    name="cnn_dailymail",
    tfds="cnn_dailymail:3.4.0",
    hub="abisee/cnn_dailymail/3.0.0",
    **_three_splits(13_368, 11_490, 287_113),
    read=functools.partial(_summary, document="article", summary="highlights", name="article"),
    question="What are the highlights of this article?\n{article}",
    reconstructed="FLAN pins 3.1.0, which TFDS has no longer; 3.4.0 spaces full stops otherwise",
)

GIGAWORD = define(
    name="gigaword",
    tfds="gigaword:1.2.0",
    hub="Harvard/gigaword",
    **_three_splits(189_651, 1_951, 3_803_957),
    read=functools.partial(_summary, document="document", summary="summary", name="text"),
    question="What headline fits this text?\n{text}",
)

MULTI_NEWS = define(
    name="multi_news",
    tfds="multi_news:2.1.0",
    hub="alexfabbri/multi_news",
    **_three_splits(5_622, 5_622, 44_972),
    read=_several_articles,
    question="What do these articles say, in short?\n{articles}",
    reconstructed="FLAN pins 1.0.0, which TFDS has no longer",
)

NEWSROOM = define(
    name="newsroom",
    tfds="newsroom:1.0.0",
    hub="lil-lab/newsroom",
    **_three_splits(108_837, 108_862, 995_041),
    read=_titled,
    question="How can this article be summarized?\n{title}\n{article}",
    manual=(
        "train.jsonl, dev.jsonl and test.jsonl, which https://summari.es/download/ gives after"
        " registration, go into the manual folder, uncompressed"
    ),
)

SAMSUM = define(
    name="samsum",
    tfds="samsum:1.0.0",
    hub="Samsung/samsum",
    **_three_splits(818, 819, 14_732),
    read=functools.partial(_summary, document="dialogue", summary="summary", name="dialogue"),
    question="What happens in this chat, in short?\n{dialogue}",
    manual=(
        "unpack https://arxiv.org/src/1911.12237v2/anc/corpus.7z; its train.json, val.json and"
        " test.json go into the manual folder"
    ),
)

XSUM = define(
    name="xsum",
    tfds="xsum:1.1.0",
    hub="EdinburghNLP/xsum",
    **_three_splits(11_305, 11_301, 203_577),
    read=functools.partial(_summary, document="document", summary="summary", name="article"),
    question="What is this article about, in one sentence?\n{article}",
    manual=(
        "xsum-extracts-from-downloads.tar.gz, which the scripts in the folder XSum-Dataset of"
        " https://github.com/EdinburghNLP/XSum make, goes into the manual folder; or mirror the"
        " hub's files"
    ),
    reconstructed="FLAN reads the hub's files, of which TFDS's own builder lacks a few rows",
)

AG_NEWS = define(
    name="ag_news_subset",
    tfds="ag_news_subset:1.0.0",
    hub="fancyzhx/ag_news",
    splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
    counts={"train": 120_000, "test": 7_600},
    read=_topic,
    question="{article}\nWhich section of a newspaper is this for?",
)

ROTTEN_TOMATOES = define(
    name="opinion_abstracts_rotten_tomatoes",
    tfds="opinion_abstracts/rotten_tomatoes:1.0.0",
    splits={
        "train": "train[:-600]",
        "validation": "train[-600:-500]",
        "test": "train[-500:]",
    },
    counts={"train": 3_731},
    read=functools.partial(
        _opinions,
        subject="_movie_name",
        opinions="_critics",
        summary="_critic_consensus",
        names=("movie", "reviews"),
    ),
    question='What do critics agree on about "{movie}"?\n{reviews}',
)

IDEBATE = define(
    name="opinion_abstracts_idebate",
    tfds="opinion_abstracts/idebate:1.0.0",
    splits={
        "train": "train[:-600]",
        "validation": "train[-600:-500]",
        "test": "train[-500:]",
    },
    counts={"train": 2_259},
    read=functools.partial(
        _opinions,
        subject="_debate_name",
        opinions="_argument_sentences",
        summary="_claim",
        names=("debate", "arguments"),
    ),
    question='What claim do these arguments make in the debate "{debate}"?\n{arguments}',
)

WIKI_LINGUA = define(
    name="wiki_lingua_english_en",
    tfds="gem/wiki_lingua_english_en:1.1.0",
    hub="GEM/wiki_lingua/en",
    **_three_splits(13_823, 28_614, 99_020),
    read=functools.partial(_summary, document="source", summary="target", name="guide"),
    question="What are the steps of this guide, in short?\n{guide}",
)
