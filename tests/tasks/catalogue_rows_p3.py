"""Rows for the data sets of P3 that Muffin does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Sample
from tests.tasks.catalogue_rows import Case

CONTEXT = "The mill {of stone} was built in 1803 by Jane Roe."
NO_YES, MOODS = ("no", "yes"), ("negative", "positive")
STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
KINDS = (
    *("Company", "Educational Institution", "Artist", "Athlete", "Office Holder"),
    *("Mean Of Transportation", "Building", "Natural Place", "Village", "Animal", "Plant"),
    *("Album", "Film", "Written Work"),
)


def _spans(*found: str) -> dict[str, list[Any]]:
    return {"text": list(found), "answer_start": [0] * len(found)}


def _hub(fields: Mapping[str, str], answer: str, identity: str = "", **row: Any) -> Case:
    return Case(Sample(fields, answer, id=identity), hub={**fields, **row})


def _adversarial() -> Case:
    fields = {"title": "Old Mill", "context": CONTEXT, "question": "When?"}
    row = {"id": "q1", "title": "Old_Mill", "answers": _spans("1803"), "metadata": {"split": "x"}}
    return _hub(fields, "1803", "q1", **row)


def _duorc() -> Case:
    fields = {"title": "The Mill", "plot": CONTEXT, "question": "Who built it?"}
    row = {"plot_id": "p", "question_id": "d1", "answers": ["Jane Roe", "Roe"], "no_answer": False}
    return _hub(fields, "Jane Roe", "d1", **row)


def _trivia() -> Case:
    texts = ("matched_wiki_entity_name", "normalized_matched_wiki_entity_name", "type")
    answer = {**dict.fromkeys(texts, ""), "value": "Paris", "normalized_value": "paris"}
    answer |= {"aliases": ["Paris"], "normalized_aliases": ["paris"]}
    row = {"question": "Capital of France?", "question_id": "t1", "question_source": "here"}
    row |= {"entity_pages": [], "search_results": []}
    return Case(Sample({"question": row["question"]}, "paris", id="t1"), {**row, "answer": answer})


def _web() -> Case:
    question = "where is the {old} mill?"
    row = {"url": "here", "question": question, "answers": ["Kent", "England"]}
    return Case(Sample({"question": question}, "Kent"), row)


def _wiki_qa() -> Case:
    fields = {"question": "When was it built?", "title": "Mill", "sentence": CONTEXT}
    row = {"question_id": "Q1", "question": fields["question"], "document_title": "Mill"}
    fields["answer_sentence"] = CONTEXT
    return Case(Sample(fields, "yes", NO_YES), hub={**row, "answer": CONTEXT, "label": 1})


def _cos_e() -> Case:
    options = ("shelf", "river", "mill", "oven", "sea")
    row = {"id": "c1", "question": "Where is flour made?", "choices": list(options)}
    row |= {
        "answer": "mill",
        "abstractive_explanation": "Mills grind.",
        "extractive_explanation": "",
    }
    fields = {"question": row["question"], "explanation": "Mills grind."}
    return Case(Sample(fields, "mill", options, "c1", 2), row)


def _dream() -> Case:
    options = ("At home.", "At work.", "At sea.")
    row = {"id": 3, "dialogue_id": "5-1", "dialogue": ["M: Is he in?", "W: No, at sea."]}
    row |= {"question": "Where is he?", "choice": list(options), "answer": "At sea."}
    fields = {"dialogue": "M: Is he in?\nW: No, at sea.", "question": "Where is he?"}
    return Case(Sample(fields, "At sea.", options, "5-1", 2), hub=row)


def _qasc() -> Case:
    options = tuple(f"thing {number}" for number in range(8))
    choices = [{"label": letter, "text": text} for letter, text in zip("ABCDEFGH", options)]
    facts = {"fact1": "Rain wets.", "fact2": "Wet stone slips.", "combinedfact": "Rain slips."}
    row = {"id": "s1", "question": "What slips?", "formatted_question": "", "answerKey": "C"}
    fields = {"question": "What slips?", "fact1": "Rain wets.", "fact2": "Wet stone slips."}
    sample = Sample({**fields, "fact": "Rain slips."}, "thing 2", options, "s1", 2)
    columns = {"label": list("ABCDEFGH"), "text": list(options)}
    return Case(sample, {**row, **facts, "choices": choices}, {**row, **facts, "choices": columns})


def _quail() -> Case:
    options = ("Jane", "Tom", "Sam", "not enough information")
    row = {"id": "f1_0", "context": CONTEXT, "question": "Who built it?", "domain": "fiction"}
    row |= {"answers": list(options), "correct_answer_id": 0, "question_type": "Factual"}
    return Case(
        Sample({"context": CONTEXT, "question": row["question"]}, "Jane", options, "f1_0", 0),
        hub=row,
    )


def _quarel() -> Case:
    question = "Ice is smooth, sand is not. A sled is faster on"
    row = {"id": "r1", "answer_index": 0, "question": f"{question} (A) ice (B) sand"}
    return Case(Sample({"question": question}, "ice", ("ice", "sand"), "r1", 0), hub=row)


def _quartz() -> Case:
    fields = {"passage": "The hotter it is, the faster it melts.", "question": "Hotter is"}
    row = {"id": "z1", "para": fields["passage"], "question": "Hotter is", "answerKey": "B"}
    row["choices"] = {"text": ["slower", "faster"], "label": ["A", "B"]}
    return Case(Sample(fields, "faster", ("slower", "faster"), "z1", 1), hub=row)


RACE_QUESTIONS = {"When?": ("A", ("1803", "1804")), "Who?": ("B", ("Sam", "Jane"))}


def race_samples() -> list[Sample]:
    """The samples of RACE's article."""
    return [
        Sample(
            {"article": CONTEXT, "question": question},
            options["AB".index(letter)],
            options,
            "high1.txt",
            "AB".index(letter),
        )
        for question, (letter, options) in RACE_QUESTIONS.items()
    ]


def _race() -> Case:
    row = {"example_id": "high1.txt", "article": CONTEXT}
    letters, options = zip(*RACE_QUESTIONS.values())
    lists = {"questions": list(RACE_QUESTIONS), "answers": list(letters)}
    asked = {"question": "When?", "answer": "A", "options": ["1803", "1804"]}
    return Case(
        race_samples()[0],
        {**row, **lists, "options": [list(each) for each in options]},
        {**row, **asked},
    )


def _sciq() -> Case:
    row = {
        "question": "What turns {a mill}?",
        "correct_answer": "wind",
        "support": "Wind turns it.",
    }
    row |= {"distractor1": "salt", "distractor2": "light", "distractor3": "sound"}
    fields = {"question": row["question"], "support": row["support"]}
    options = ("wind", "sound", "salt", "light")
    return Case(Sample(fields, "wind", options, answer_index=0), hub=row)


def _social() -> Case:
    options = ("kind", "angry", "tired")
    fields = {"context": "Kai helped Lee.", "question": "How is Kai?"}
    row = {f"answer{letter}": option for letter, option in zip("ABC", options)}
    return Case(
        Sample(fields, "kind", options, answer_index=0), hub={**fields, **row, "label": "1\n"}
    )


def _wiki_hop() -> Case:
    options = ("kent", "england", "stone")
    row = {"id": "W1", "query": "located_in old mill", "candidates": list(options)}
    row |= {"supports": ["The mill is in Kent.", CONTEXT], "answer": "kent", "annotations": []}
    fields = {"supports": f"The mill is in Kent.\n{CONTEXT}", "relation": "located in"}
    return Case(Sample({**fields, "subject": "old mill"}, "kent", options, "W1", 0), hub=row)


def _wiqa() -> Case:
    options = ("more", "less", "no effect")
    row = {"question_para_step": ["Rain falls.", "Rivers rise.", ""], "answer_label": "no_effect"}
    row |= {"question_stem": "suppose it snows", "metadata_question_id": "w1"}
    row |= {"choices": {"text": list(options), "label": list("ABC")}, "answer_label_as_choice": "C"}
    fields = {"process": "1. Rain falls.\n2. Rivers rise.", "question": "suppose it snows"}
    return Case(Sample(fields, "no effect", options, "w1", 2), hub=row)


def _wiki_bio() -> Case:
    table = {
        "column_header": ["birth_date", "name", "spouse"],
        "content": ["1770", "jane roe", "<none>"],
    }
    rows = [
        {"column_header": header, "row_number": 1, "content": content}
        for header, content in zip(*table.values())
    ]
    target = "jane roe -lrb- born 1770 -rrb- built mills ."
    row = {"input_text": {"context": "jane roe\n", "table": rows}, "target_text": f"{target}\n"}
    hub = {
        **row,
        "input_text": {"context": "jane roe\n", "table": {**table, "row_number": [1] * 3}},
    }
    fields = {"person": "jane roe", "facts": "birth date: 1770\nname: jane roe"}
    return Case(Sample(fields, target), row, hub)


CASES: dict[str, Case] = {
    **{f"adversarial_qa_{config}": _adversarial() for config in ("dbidaf", "dbert", "droberta")},
    "duorc_selfrc": _duorc(),
    "duorc_paraphraserc": _duorc(),
    "ropes": _hub(
        {"background": "Heat melts ice.", "situation": "Tom heats ice.", "question": "What melts?"},
        "ice",
        "o1",
        id="o1",
        answers={"text": ["ice"]},
    ),
    "quoref": _hub(
        {"title": "Mills", "context": CONTEXT, "question": "Who and when?"},
        "Jane Roe, 1803",
        "u1",
        id="u1",
        url="here",
        answers=_spans("Jane Roe", "1803"),
    ),
    "kilt_tasks_hotpotqa": Case(
        Sample({"question": "Whose mill is it?"}, "Jane Roe's", id="k1"),
        hub={
            "id": "k1",
            "input": "Whose mill is it?",
            "output": [{"answer": "", "provenance": []}, {"answer": "Jane Roe's"}],
        },
    ),
    "trivia_qa_unfiltered": _trivia(),
    "web_questions": _web(),
    "wiki_qa": _wiki_qa(),
    "cos_e": _cos_e(),
    "dream": _dream(),
    "qasc": _qasc(),
    "quail": _quail(),
    "quarel": _quarel(),
    "quartz": _quartz(),
    "race_high": _race(),
    "race_middle": _race(),
    "sciq": _sciq(),
    "social_i_qa": _social(),
    "wiki_hop_original": _wiki_hop(),
    "wiqa": _wiqa(),
    "amazon_polarity": Case(
        Sample({"title": "Good", "review": CONTEXT}, "positive", MOODS),
        hub={"title": "Good", "content": CONTEXT, "label": 1},
    ),
    "app_reviews": Case(
        Sample({"app": "org.mill", "review": "It {grinds}."}, "4 stars", STARS),
        hub={"package_name": "org.mill", "review": "It {grinds}.", "date": "2016", "star": 4},
    ),
    "rotten_tomatoes": Case(
        Sample({"review": "it grinds on ."}, "negative", MOODS),
        hub={"text": "it grinds on . ", "label": 0},
    ),
    "yelp_review_full": Case(
        Sample({"review": 'A "mill".\nFine.'}, "5 stars", STARS),
        hub={"text": 'A \\""mill\\"".\\nFine.', "label": 4},
    ),
    "dbpedia_14": Case(
        Sample({"title": "Old Mill", "content": CONTEXT}, "Building", KINDS),
        hub={"title": "Old Mill", "content": f" {CONTEXT}", "label": 6},
    ),
    "wiki_bio": _wiki_bio(),
}
