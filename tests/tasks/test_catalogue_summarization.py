"""Summaries, and the kinds of data sets whose rows `catalogue_rows_b` holds beside them."""

import itertools
import re
from collections.abc import Mapping
from typing import Any

import pytest

from teacherlm_jax.data import split_slices
from teacherlm_jax.data.row_rendering import RowError, raw_row
from teacherlm_jax.tasks import text_tasks
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, samples
from tests.tasks.catalogue_rows import mocked
from tests.tasks.catalogue_rows_b import CASES, LONG, SHORT


def read(name: str, row: Mapping[str, Any]):
    return DATASETS[name].read(row)


@pytest.fixture(scope="module")
def rows():
    """Name -> the rows of TFDS, as its source gives them."""
    found = {}
    with mocked(CASES):
        for name in CASES:
            dataset = text_tasks.source(DATASETS[name]).get_dataset("train", shuffle=False)
            found[name] = [raw_row(element).values for element in dataset.as_numpy_iterator()]
    return found


@pytest.mark.parametrize("name", CASES)
def test_rows_of_tfds_are_read(name, rows):
    for row in rows[name]:
        assert samples(DATASETS[name], row) == [CASES[name].sample]
    assert rows[name]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.hub is not None])
def test_rows_of_the_hub_are_read(name):
    assert read(name, CASES[name].hub) == CASES[name].sample


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gigaword", {"document": " "}),
        ("xsum", {"summary": ""}),
        ("multi_news", {"document": " ||||| "}),
        ("newsroom", {"title": ""}),
        ("ag_news_subset", {"label": -1}),
        ("web_nlg_en", {"target": ""}),
        ("arc_easy", {"answerKey": ""}),
        ("trivia_qa", {"answer": {"normalized_value": "<unk>"}}),
        ("wmt14_enfr", {"fr": "\n"}),
        ("true_case", {"en": "all of it is lower"}),
        ("fix_punct", {"en": "None here"}),
        ("word_segment", {"en": "Word"}),
        ("fix_punct", {"en": "..."}),
    ],
)
def test_rows_without_an_answer_are_left_out(name, change, rows):
    assert read(name, {**rows[name][0], **change}) is None


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("aeslc", {"email_body": None}, "must be a text"),
        ("ag_news_subset", {"label": 4}, "must be 0 to 3"),
        ("arc_easy", {"answerKey": "E"}, "must be one of"),
        ("arc_easy", {"choices": {"text": ["a"], "label": [0, 1]}}, "must have one of its own"),
        ("natural_questions", {"answer": []}, "must hold a text"),
        ("common_gen", {"concepts": []}, "a list that is not empty"),
        ("opinion_abstracts_idebate", {"_argument_sentences": "one"}, "must hold texts"),
        ("math_dataset", {"answer": " "}, "not empty"),
    ],
)
def test_malformed_rows_are_errors(name, change, message, rows):
    with pytest.raises(RowError, match=message):
        read(name, {**rows[name][0], **change})


def test_arc_is_read_with_any_number_of_options():
    row = {"id": "x", "question": "Which?", "answerKey": "3"}
    for count in (3, 5):
        texts, labels = list("abcde"[:count]), list("12345"[:count])
        sample = read("arc_challenge", {**row, "choices": {"text": texts, "label": labels}})
        assert (len(sample.options), sample.answer, sample.answer_index) == (count, "c", 2)


def test_facts_of_the_hub_keep_their_parts_apart():
    row = {"tripleset": [["Ferry", "YEAR", "1803"]], "target": SHORT}
    assert read("dart", row).fields == {"triples": "Ferry | YEAR | 1803"}


def test_texts_keep_their_lines():
    assert (
        read("cnn_dailymail", {"article": LONG, "highlights": "One.\nTwo."}).answer == "One.\nTwo."
    )


def test_manual_sets_say_which_files():
    manuals = {name: DATASETS[name].manual for name in CASES}
    files = {
        name: re.findall(r"(?<![\w/.])[\w-]+(?:\.[\w-]+)*\.(?:jsonl?|gz|zip)\b", manual)
        for name, manual in manuals.items()
        if manual is not None
    }
    assert files == {
        "newsroom": ["train.jsonl", "dev.jsonl", "test.jsonl"],
        "samsum": ["train.json", "val.json", "test.json"],
        "xsum": ["xsum-extracts-from-downloads.tar.gz"],
        "wmt16_translate_csen": ["czeng16pre.deduped-ignoring-sections.txt.gz"],
        "wmt16_translate_ruen": ["1mcorpus.zip"],
    }


def test_slices_share_no_row():
    """Of one split of one TFDS data set, training and validation over all tasks."""
    places = {}
    for name in CASES:
        dataset = DATASETS[name]
        assert split_slices.count(dataset.splits["train"], dataset.counts) > 1000 or "arc" in name
        for split in ("train", "validation"):
            ((source_split, start, end),) = split_slices.ranges(
                dataset.splits[split], {"validation": 1000, **dataset.counts}
            )
            places.setdefault((dataset.tfds, source_split), []).append((start, end))
    for where, found in places.items():
        found.sort()
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(found)), where
