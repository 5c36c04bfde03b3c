"""Rows for the rest of Muffin's clusters: summaries to equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Sample
from tests.tasks.catalogue_rows import Case

TOPICS = ("World", "Sports", "Business", "Science/Tech")
LONG, SHORT = "The {old} ferry was sold.\nIt sails no more.", "Ferry sold"
ENGLISH = "Bring the Boat home, Anna!"
GEM = {"gem_id": "gem-7", "gem_parent_id": "gem-7", "references": ["Another."]}


def _summary(document: str, summary: str, field: str, identity: str = "", **more: Any) -> Case:
    row = {document: f" {LONG}\n", summary: SHORT, **more}
    return Case(Sample({field: LONG}, SHORT, id=identity), row)


def _newsroom() -> Case:
    row = {"text": LONG, "title": "A sale", "summary": SHORT, "url": "", "date": ""}
    numbers = {"compression": 2.0, "coverage": 1.0, "density": 1.5}
    bins = {f"{name}_bin": "low" for name in numbers}
    fields = {"title": "A sale", "article": LONG}
    return Case(Sample(fields, SHORT), {**row, **numbers, **bins})


def _topic() -> Case:
    row = {"title": "Cup final.", "description": "They won.", "label": 1}
    sample = Sample({"article": "Cup final. They won."}, "Sports", TOPICS)
    return Case(sample, row, {"text": "Cup final. They won.", "label": 1})


def _opinions(names: Mapping[str, str], fields: tuple[str, str]) -> Case:
    said = [f"Point\n{number} is made." for number in range(12)]
    numbered = "\n".join(f"{number + 1}. Point {number} is made." for number in range(10))
    row = {
        names["subject"]: "Ferries",
        names["opinions"]: [{"key": str(n), "value": text} for n, text in enumerate(said)],
        names["summary"]: SHORT,
        names["id"]: "m1",
    }
    return Case(Sample(dict(zip(fields, ("Ferries", numbered), strict=True)), SHORT), row)


def _told(field: str, told: str, **row: Any) -> Case:
    return Case(Sample({field: told}, SHORT, id="gem-7"), {**row, "target": SHORT, **GEM})


def _dart() -> Case:
    more = {"dart_id": 1, "subtree_was_extended": False, "target_sources": ["hand"]}
    case = _told("triples", "Ferry YEAR 1803\nFerry STATE sold", tripleset=[], **more)
    assert case.row is not None
    row = {**case.row, "tripleset": ["Ferry YEAR 1803", "Ferry STATE sold"]}
    return Case(case.sample, row)


def _trivia() -> Case:
    answer = {
        "aliases": ["Oslo", "Christiania"],
        "matched_wiki_entity_name": "Oslo",
        "normalized_aliases": ["oslo", "christiania"],
        "normalized_matched_wiki_entity_name": "oslo",
        "normalized_value": "oslo",
        "type": "WikipediaEntity",
        "value": "Oslo",
    }
    row = {
        "question": "Which is Norway's capital?",
        "question_id": "t_1",
        "question_source": "",
        "entity_pages": [],
        "search_results": [],
        "answer": answer,
    }
    return Case(Sample({"question": "Which is Norway's capital?"}, "oslo", id="t_1"), row)


def _arc() -> Case:
    question, options = "What boils?", ("ice", "water", "sand", "salt")
    row = {"id": "M_1", "question": question, "answerKey": "B"}
    choices = {"text": list(options), "label": ["A", "B", "C", "D"]}
    hub = {**row, "answerKey": "2", "choices": {**choices, "label": ["1", "2", "3", "4"]}}
    sample = Sample({"question": question}, "water", options, "M_1", 1)
    listed = [{"text": text, "label": label} for text, label in zip(options, "ABCD", strict=True)]
    return Case(sample, {**row, "choices": listed}, hub)


def _formatting(field: str, damaged: str) -> Case:
    row = {"en": ENGLISH, "da": "Bring båden hjem, Anna!"}
    return Case(Sample({field: damaged}, ENGLISH), row, {"translation": row})


def _translation(code: str, language: str) -> Case:
    row = {"en": ENGLISH, code: "{Anna}!"}
    sample = Sample({"english": ENGLISH, "language": language}, "{Anna}!")
    return Case(sample, row, {"translation": row})


def _equation() -> Case:
    row = {"question": "Solve 3*x = 12 for x.", "answer": "4"}
    hub = {"question": "b'Solve 3*x = 12 for x.\\n'", "answer": "b'4\\n'"}
    return Case(Sample({"question": row["question"]}, "4"), row, hub)


ROTTEN_TOMATOES = {
    "subject": "_movie_name",
    "opinions": "_critics",
    "summary": "_critic_consensus",
    "id": "_movie_id",
}
IDEBATE = {
    "subject": "_debate_name",
    "opinions": "_argument_sentences",
    "summary": "_claim",
    "id": "_claim_id",
}

CASES: dict[str, Case] = {
    "aeslc": _summary("email_body", "subject_line", "email"),
    "cnn_dailymail": _summary("article", "highlights", "article", "c1", id="c1", publisher="x"),
    "gigaword": _summary("document", "summary", "text"),
    "multi_news": Case(
        Sample({"articles": f"{LONG}\n\nMore of it."}, SHORT),
        {"document": f"{LONG} ||||| More of it. |||||", "summary": SHORT},
    ),
    "newsroom": _newsroom(),
    "samsum": _summary("dialogue", "summary", "dialogue", "13", id="13"),
    "xsum": _summary("document", "summary", "article"),
    "ag_news_subset": _topic(),
    "opinion_abstracts_rotten_tomatoes": _opinions(ROTTEN_TOMATOES, ("movie", "reviews")),
    "opinion_abstracts_idebate": _opinions(IDEBATE, ("debate", "arguments")),
    "wiki_lingua_english_en": _summary(
        "source",
        "target",
        "guide",
        "gem-7",
        source_aligned={"en": LONG},
        target_aligned={"en": SHORT},
        **GEM,
    ),
    "web_nlg_en": _told(
        "triples",
        "Old Ferry | year | 1803\nOld Ferry | state | sold",
        input=["Old_Ferry | year | 1803", "Old_Ferry | state | sold"],
        category="Boat",
        webnlg_id="w1",
    ),
    "common_gen": _told("concepts", "ferry, sell", concepts=["ferry", "sell"], concept_set_id=1),
    "e2e_nlg": _told(
        "description",
        "name[The Ferry], food[fish]",
        meaning_representation="name[The Ferry], food[fish]",
    ),
    "dart": _dart(),
    "trivia_qa": _trivia(),
    "natural_questions": Case(
        Sample({"question": "who sold the ferry?"}, "Anna"),
        {"question": "who sold the ferry", "answer": ["Anna", "Ann"]},
    ),
    "arc_challenge": _arc(),
    "arc_easy": _arc(),
    "true_case": _formatting("lower", "bring the boat home, anna!"),
    "fix_punct": _formatting("bare", "Bring the Boat home Anna"),
    "word_segment": _formatting("joined", "BringtheBoathome,Anna!"),
    "para_crawl_enes": _translation("es", "Spanish"),
    "wmt14_enfr": _translation("fr", "French"),
    "wmt16_translate_csen": _translation("cs", "Czech"),
    "wmt16_translate_deen": _translation("de", "German"),
    "wmt16_translate_fien": _translation("fi", "Finnish"),
    "wmt16_translate_roen": _translation("ro", "Romanian"),
    "wmt16_translate_ruen": _translation("ru", "Russian"),
    "wmt16_translate_tren": _translation("tr", "Turkish"),
    "math_dataset": _equation(),
}
"""By name of the catalogue."""
