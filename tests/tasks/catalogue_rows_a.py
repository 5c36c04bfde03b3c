"""Rows for Muffin's clusters of understanding: inference to reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.catalogue.dataset import Sample
from tests.tasks.catalogue_rows import Case

PREMISE = "A man in a {red} coat plays a cello on the pier."
HYPOTHESIS = "Somebody makes music."
ANLI = ("Yes", "It's impossible to say", "No")
MNLI = ("yes", "it is not possible to tell", "no")
YES_NO, NO_YES = ("yes", "no"), ("no", "yes")
MOODS = ("negative", "positive")
STORY = "Ada planted beans in May. The frost came in June. She sowed again {late}."
WHO = "The jug did not fit the shelf because _ was too tall."


def _nli(options: tuple[str, ...], label: int, *names: str, **more: Any) -> Case:
    """Rows with a premise and a hypothesis under these names."""
    row = {names[0]: PREMISE, names[1]: HYPOTHESIS, "label": label, **more}
    fields = {"premise": PREMISE, "hypothesis": HYPOTHESIS}
    identity = str(more.get("uid", more.get("idx", "")))
    return Case(Sample(fields, options[label], options, identity), row)


def _pair(first: str, second: str, answer: str, **more: Any) -> Case:
    fields = {first: "Rain {may} fall.", second: "It could rain."}
    identity = str(more.get("idx", ""))
    return Case(Sample(fields, answer, NO_YES, identity), {**fields, **more})


def _anli() -> Case:
    case = _nli(ANLI, 1, "context", "hypothesis", uid="a1")
    hub = {"premise": PREMISE, "hypothesis": HYPOTHESIS, "label": 1, "uid": "a1", "reason": ""}
    return Case(case.sample, case.row, hub)


def _wsc() -> Case:
    words = "Tom thanked Sam because he was kind, and he meant it."
    row = {"text": words, "span1_text": "Sam", "span1_index": 2, "label": 1, "idx": 4}
    marked = "Tom thanked Sam because *he* was kind, and he meant it."
    fields = {"text": marked, "noun": "Sam", "pronoun": "he"}
    return Case(Sample(fields, "yes", NO_YES, "4"), {**row, "span2_text": "he", "span2_index": 4})


def _squad(**more: Any) -> Case:
    context = "The mill {of stone} was built in 1803."
    row = {"id": "s1", "title": "Old_Mill", "context": context, "question": "When?", **more}
    answers: Mapping[str, list[Any]] = {"text": ["1803", "in 1803"], "answer_start": [33, 30]}
    fields = {"title": "Old Mill", "context": context, "question": "When?"}
    return Case(Sample(fields, "1803", id="s1"), {**row, "answers": answers})


def _unanswerable() -> Case:
    case = _squad()
    assert case.row is not None
    none: Mapping[str, list[Any]] = {"text": [], "answer_start": []}
    hub = {**case.row, "answers": none}
    row = {**hub, "is_impossible": True, "plausible_answers": none}
    return Case(Sample(case.sample.fields, "unanswerable", id="s1"), row, hub)


def _boolq(**more: Any) -> tuple[Mapping[str, str], Mapping[str, Any]]:
    row = {"question": "is chalk a rock", "passage": "Chalk is a soft {white} rock.", **more}
    return {"question": "Is chalk a rock?", "passage": row["passage"]}, row


SENTENCES: dict[str, Case] = {
    "anli_r1": _anli(),
    "anli_r2": _anli(),
    "anli_r3": _anli(),
    "super_glue_cb": _nli(
        ("Yes", "No", "It's impossible to say"), 1, "premise", "hypothesis", idx=3
    ),
    "super_glue_rte": _nli(YES_NO, 0, "premise", "hypothesis", idx=3),
    "super_glue_axg": _nli(YES_NO, 1, "premise", "hypothesis", idx=3),
    "glue_rte": _nli(YES_NO, 1, "sentence1", "sentence2", idx=3),
    "glue_mnli": _nli(MNLI, 2, "premise", "hypothesis", idx=7),
    "glue_wnli": _nli(NO_YES, 1, "sentence1", "sentence2", idx=7),
    "snli": _nli(MNLI, 0, "premise", "hypothesis"),
    "glue_qnli": Case(
        Sample({"question": "Who won?", "sentence": "Ivo {won}."}, "yes", YES_NO, "2"),
        {"question": "Who won?", "sentence": "Ivo {won}.", "label": 0, "idx": 2},
    ),
    "glue_mrpc": _pair("sentence1", "sentence2", "yes", label=1, idx=5),
    "glue_qqp": _pair("question1", "question2", "no", label=0, idx=5),
    "paws_wiki": _pair("sentence1", "sentence2", "yes", label=1),
    "glue_stsb": Case(
        Sample(
            {"sentence1": "It rains {hard}.", "sentence2": "Rain pours."},
            "4",
            ("0", "1", "2", "3", "4", "5"),
            "8",
        ),
        {"sentence1": "It rains {hard}.", "sentence2": "Rain pours.", "label": 3.8, "idx": 8},
    ),
    "imdb_reviews": Case(
        Sample({"review": "Long {very}.\nDull."}, "negative", MOODS),
        {"text": "Long {very}.<br /><br />Dull.", "label": 0},
    ),
    "sentiment140": Case(
        Sample({"tweet": "@you sunny {at last}!"}, "positive", MOODS),
        {"text": "@you sunny {at last}!", "polarity": 4, "date": "", "query": "", "user": "me"},
        {"text": "@you sunny {at last}!", "sentiment": 4, "date": "", "query": "", "user": "me"},
    ),
    "yelp_polarity_reviews": Case(
        Sample({"review": 'They say "fresh".\nIt is {so} good.'}, "positive", MOODS),
        {"text": 'They say \\""fresh\\"".\\nIt is {so} good.', "label": 1},
    ),
    "glue_sst2": Case(
        Sample({"sentence": "a {quiet} joy"}, "positive", MOODS, "6"),
        {"sentence": "a {quiet} joy ", "label": 1, "idx": 6},
    ),
    "super_glue_wic": Case(
        Sample(
            {"word": "bank", "sentence1": "A {river} bank.", "sentence2": "The bank lent."},
            "different meanings",
            ("different meanings", "the same meaning"),
            "9",
        ),
        {"word": "bank", "sentence1": "A {river} bank.", "sentence2": "The bank lent."}
        | {"start1": 10, "end1": 14, "start2": 4, "end2": 8, "label": 0, "idx": 9},
    ),
    "glue_cola": Case(
        Sample({"sentence": "Him {the} saw."}, "unacceptable", ("unacceptable", "acceptable"), "1"),
        {"sentence": "Him {the} saw.", "label": 0, "idx": 1},
    ),
    "trec": Case(
        Sample(
            {"question": "How many {blue} moons ?"},
            "numeric",
            ("description", "entity", "abbreviation", "human", "numeric", "location"),
        ),
        {"text": "How many {blue} moons ?", "label-coarse": 4, "label-fine": 13},
        {"text": "How many {blue} moons ?", "coarse_label": 5, "fine_label": 39},
    ),
}

CHOICES: dict[str, Case] = {
    "definite_pronoun_resolution": Case(
        Sample(
            {"sentence": "Bees {all} like clover because they find honey.", "pronoun": "they"},
            "Bees",
            ("Bees", "clover"),
            answer_index=0,
        ),
        {"sentence": "Bees {all} like clover because they find honey.", "pronoun": "they"}
        | {"candidates": ["Bees", "clover"], "label": 0},
    ),
    "winogrande": Case(
        Sample({"sentence": WHO}, "the jug", ("the shelf", "the jug"), answer_index=1),
        {"sentence": WHO, "option1": "the shelf", "option2": "the jug", "label": 1},
        {"sentence": WHO, "option1": "the shelf", "option2": "the jug", "answer": "2"},
    ),
    "super_glue_wsc": _wsc(),
    "super_glue_wsc_fixed": _wsc(),
    "wsc273": Case(
        Sample(
            {"text": "Al met Bo as *he* {left}.", "pronoun": "he"},
            "Bo",
            ("Al", "Bo"),
            "0",
            answer_index=1,
        ),
        {"text": "Al met Bo as he {left}.", "pronoun_start": 13, "pronoun_end": 15}
        | {"pronoun_text": "he", "option1": "Al", "option1_normalized": "Al", "option2": "Bo"}
        | {"option2_normalized": "Bo", "label": 1, "idx": 0},
        {"text": "Al met Bo as he {left}.", "pronoun": "he", "pronoun_loc": 13, "idx": 0}
        | {"options": ["Al", "Bo"], "label": 1, "quote": "he left", "quote_loc": 13},
    ),
    "super_glue_copa": Case(
        Sample(
            {"premise": "The {old} lamp went out.", "relation": "cause"}
            | {"asked": "What was the cause of this?", "connective": "because"},
            "The oil was used up.",
            ("The oil was used up.", "It was noon."),
            "3",
            answer_index=0,
        ),
        {"premise": "The {old} lamp went out.", "question": "cause", "label": 0, "idx": 3}
        | {"choice1": "The oil was used up.", "choice2": "It was noon."},
    ),
    "hellaswag": Case(
        Sample(
            {"activity": "Home", "context": "How to sew. Thread {it}. You"},
            "tie a knot.",
            ("sing.", "tie a knot.", "run.", "swim."),
            answer_index=1,
        ),
        {"activity_label": "Home", "context": "[header] How to sew [title] Thread {it}. [step] You"}
        | {"endings": ["sing.", "tie a  knot.", "run. [substeps]", "swim."], "label": 1}
        | {"source_id": "wikihow~1", "split_type": "indomain"},
        {"activity_label": "Home", "ctx": "[header] How to sew [title] Thread {it}. [step] You"}
        | {"endings": ["sing.", "tie a  knot.", "run. [substeps]", "swim."], "label": "1"},
    ),
    "story_cloze_2016": Case(
        Sample(
            {"context": f"{STORY} It grew."},
            "She had beans.",
            ("She swam.", "She had beans."),
            answer_index=1,
        ),
        {"context": f"{STORY} It grew.", "endings": ["She swam.", "She had beans."], "label": 2},
        {f"input_sentence_{n}": f"{line}." for n, line in enumerate(STORY[:-1].split(". "), 1)}
        | {"input_sentence_4": "It grew.", "sentence_quiz1": "She swam."}
        | {"sentence_quiz2": "She had beans.", "answer_right_ending": 2},
    ),
    "piqa": Case(
        Sample(
            {"goal": "To {fully} dry boots,"},
            "fill them with paper.",
            ("fill them with soup.", "fill them with paper."),
            "p1",
            answer_index=1,
        ),
        {"goal": "To {fully} dry boots,", "sol1": "fill them with soup.", "id": "p1", "label": 1}
        | {"sol2": "fill them with paper."},
    ),
    "cosmos_qa": Case(
        Sample(
            {"context": STORY, "question": "Why did she sow again?"},
            "Frost killed the beans.",
            ("She was bored.", "Frost killed the beans.", "Ada left.", "None of these."),
            "c1",
            answer_index=1,
        ),
        {"context": STORY, "question": "Why did she sow again?", "id": "c1", "label": 1}
        | {"answer0": "She was bored.", "answer1": "Frost killed the beans."}
        | {"answer2": "Ada left.", "answer3": "None of these."},
    ),
    "openbookqa": Case(
        Sample(
            {"question": "What {most} helps a seed?", "fact": "seeds need water"},
            "rain",
            ("rain", "ink", "sand", "wax"),
            answer_index=0,
        ),
        {
            "question": {"stem": "What {most} helps a seed?", "choice_A": "rain", "choice_B": "ink"}
            | {"choice_C": "sand", "choice_D": "wax"}
        }
        | {"answerKey": 0, "fact1": "seeds need water", "clarity": 1.0, "humanScore": 1.0}
        | {"turkIdAnonymized": "t"},
        {"question_stem": "What {most} helps a seed?", "answerKey": "A"}
        | {"choices": {"text": ["rain", "ink", "sand", "wax"], "label": ["A", "B", "C", "D"]}}
        | {"fact1": "seeds need water"},
    ),
}

READING: dict[str, Case] = {
    "squad_v1": _squad(),
    "squad_v2": _unanswerable(),
    "drop": Case(
        Sample({"passage": STORY, "question": "How often did she sow?"}, "2", id="d1"),
        {"passage": STORY, "question": "How often did she sow?", "answer": "2", "query_id": "d1"}
        | {"validated_answers": ["2", "twice"]},
        {"passage": STORY, "question": "How often did she sow?", "query_id": "d1"}
        | {"answers_spans": {"spans": ["2"], "types": ["number"]}, "section_id": "x"},
    ),
    "super_glue_multirc": Case(
        Sample(
            {"paragraph": STORY, "question": "When did the frost come?", "candidate": "In May"},
            "no",
            NO_YES,
            "answer3-paragraph1-question2",
        ),
        {"paragraph": STORY, "question": "When did the frost come?", "answer": "In May"}
        | {"label": 0, "idx": {"paragraph": 1, "question": 2, "answer": 3}},
    ),
    "bool_q": Case(
        Sample(_boolq()[0] | {"passage": "Chalk -- Chalk is a soft {white} rock."}, "yes", NO_YES),
        _boolq(title="Chalk", answer=True)[1],
    ),
    "super_glue_boolq": Case(Sample(_boolq()[0], "yes", NO_YES, "4"), _boolq(label=1, idx=4)[1]),
    "super_glue_record": Case(
        Sample(
            {"passage": "Ivo {22} beat Ana.\nAna was second", "query": "@placeholder came first"},
            "Ivo",
            ("Ana", "Ivo"),
            "passage1-query2",
        ),
        {"passage": "Ivo {22} beat Ana.\n@highlight\nAna was second"}
        | {"query": "@placeholder came first", "entities": ["Ana", "Ivo"], "answers": ["Ivo"]}
        | {"idx": {"passage": 1, "query": 2}},
    ),
    "quac": Case(
        Sample(
            {"title": "Ada", "section": "Garden", "background": "Ada grew {up} here."}
            | {"context": STORY, "question": "What did she plant?"},
            "beans",
        ),
        {"title": "Ada", "section_title": "Garden", "background": "Ada grew {up} here."}
        | {"context": f"{STORY} CANNOTANSWER", "question": "What did she plant?"}
        | {"orig_answer": {"text": "beans", "answer_start": 12}, "followup": "y", "yesno": "x"}
        | {"answers": {"text": ["beans"], "answer_start": [12]}},
    ),
    "coqa": Case(
        Sample({"story": STORY, "questions": "1. Who planted?\n2. What?"}, "1. Ada\n2. beans"),
        {"story": STORY, "source": "x", "questions": ["Who planted?", "What?"]}
        | {
            "answers": {"input_text": ["Ada", "beans"], "answer_start": [0, 12]}
            | {"answer_end": [3, 17]}
        },
    ),
}

CASES: dict[str, Case] = {**SENTENCES, **CHOICES, **READING}
