"""The data sets of P3 that FLAN does not have; those with options are in `multiple_choice_qa`."""

import csv
import re

import pytest

from teacherlm_jax.data.row_rendering import RowError, raw_row
from teacherlm_jax.tasks import text_tasks
from teacherlm_jax.tasks.catalogue import (
    encyclopedia,
    extractive_qa,
    multiple_choice_qa,
    open_questions,
    opinions,
)
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, Dataset, samples
from tests.source import ROOT
from tests.tasks.catalogue_rows import mocked
from tests.tasks.catalogue_rows_p3 import CASES, race_samples

MODULES = (encyclopedia, extractive_qa, multiple_choice_qa, open_questions, opinions)
# Fields that a sample may lack.
OF_SOME = {"answer_sentence", "explanation", "fact", "fact1", "fact2", "support"}
TABLE = ROOT.parent / "shared" / "reference" / "p3.csv"


def read(name: str, **changes):
    """The samples of the hub's row of a case, with other values."""
    return samples(DATASETS[name], {**(CASES[name].hub or CASES[name].row), **changes})


def test_every_data_set_here_has_a_case():
    ours = {
        each.name for module in MODULES for each in vars(module).values() if type(each) is Dataset
    }
    assert ours == CASES.keys()


def test_rows_of_tfds_are_read():
    ours = [name for name in CASES if DATASETS[name].tfds is not None]
    assert len(ours) == 7
    with mocked(CASES):
        for name in ours:
            dataset = text_tasks.source(DATASETS[name]).get_dataset("train", shuffle=False)
            found = [raw_row(element).values for element in dataset.as_numpy_iterator()]
            assert found, name
            for row in found:
                wanted = race_samples() if name.startswith("race") else [CASES[name].sample]
                assert samples(DATASETS[name], row) == wanted, name


@pytest.mark.parametrize("name", CASES)
def test_rows_of_the_hub_are_read(name):
    assert read(name) == [CASES[name].sample]


@pytest.mark.parametrize("name", CASES)
def test_the_question_names_fields_that_every_sample_has(name):
    names = set(re.findall(r"{(\w+)}", DATASETS[name].question))
    assert names and names <= CASES[name].sample.fields.keys() - OF_SOME


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("adversarial_qa_dbert", {"answers": {"text": []}}),
        ("ropes", {"answers": {"text": [""]}}),
        ("quoref", {"context": " "}),
        ("duorc_selfrc", {"answers": []}),
        ("kilt_tasks_hotpotqa", {"output": []}),
        ("trivia_qa_unfiltered", {"answer": {"normalized_value": "<unk>"}}),
        ("web_questions", {"answers": []}),
        ("wiki_qa", {"answer": ""}),
        ("qasc", {"answerKey": ""}),
        ("cos_e", {"choices": ["", "mill"]}),
        ("race_high", {"article": ""}),
        ("amazon_polarity", {"title": ""}),
        ("dbpedia_14", {"label": -1}),
        ("wiki_bio", {"target_text": "\n"}),
    ],
)
def test_rows_without_an_answer_or_a_text_are_left_out(name, change):
    assert read(name, **change) == []


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("cos_e", {"answer": "hill"}, "'hill' is not among the options"),
        ("dream", {"question": None}, "field 'question' is None"),
        ("qasc", {"answerKey": "I"}, "'answerKey' is 'I'; it must be one of"),
        ("quarel", {"question": "Which?"}, "must end in two options"),
        ("quail", {"correct_answer_id": 4}, "'correct_answer_id' is 4; it must be 0 to 3"),
        ("race_middle", {"answer": "C"}, "'answer' is 'C'; it must be a letter of AB"),
        ("race_middle", {"options": "ab"}, "field 'options' is 'ab'; it must be a list"),
        ("social_i_qa", {"label": "4"}, "'label' is '4'"),
        ("wiqa", {"answer_label_as_choice": "D"}, "must be one of .'A', 'B', 'C'"),
        ("duorc_selfrc", {"no_answer": "no"}, "'no_answer' is 'no'"),
        ("kilt_tasks_hotpotqa", {"output": "Roe"}, "'output' is 'Roe'"),
        ("app_reviews", {"star": 6}, "'star' is 6; it must be 1 to 5"),
        (
            "wiki_bio",
            {"input_text": {"table": {"column_header": ["a"], "content": []}}},
            "1 headers",
        ),
    ],
)
def test_malformed_rows_are_refused_with_value_and_constraint(name, change, message):
    with pytest.raises(RowError, match=message):
        read(name, **change)


def test_what_a_plot_leaves_open_is_unanswerable():
    (found,) = read("duorc_selfrc", no_answer=True, answers=[])
    assert found.answer == "unanswerable"


def test_only_answers_are_answer_sentences():
    (found,) = read("wiki_qa", label=0)
    assert found.answer == "no"
    assert "answer_sentence" not in found.fields


def test_sciq_puts_the_answer_anywhere_and_may_have_no_paragraph():
    places = [read("sciq", question=f"Question {number}?")[0].answer_index for number in range(400)]
    assert all(60 < places.count(place) < 140 for place in range(4))
    (found,) = read("sciq", support="")
    assert found.fields.keys() == {"question"}


def test_sizes_are_those_of_the_reference():
    if not TABLE.exists():
        pytest.skip(f"{TABLE} is not here")
    with TABLE.open(encoding="utf-8", newline="") as stream:
        lines = {f"{line['dataset']}_{line['subset']}": line for line in csv.DictReader(stream)}
    lines = {key.lower().rstrip("_"): line for key, line in lines.items()}
    lines["cos_e"] = lines["cos_e_v1.11"]
    # TFDS's rows of RACE are articles.
    for name in CASES.keys() - {"race_high", "race_middle"}:
        counts, line = DATASETS[name].counts, lines[name]
        assert counts["train"] == int(line["train_size"]), name
        for split in ("validation", "test"):
            if split in counts and line[f"max_{split}_size"]:
                assert counts[split] == int(line[f"max_{split}_size"]), name
