"""Tasks of TeacherData: names, texts, what is left out, and that importing reads nothing."""

import logging

import pytest
import seqio

from teacherlm_jax.data import data_setup, default_vocabulary, pipeline, tokenization
from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from teacherlm_jax.tasks.teacherdata import registry
from teacherlm_jax.tasks.teacherdata.examples import FORMS
from tests.data import tiny_records, tiny_tokenizers

ROWS = tiny_records.make(12)
PLAIN = "Q: Is number 0 even? (A) yes (B) no A: The answer is (A)."
FUNDAMENTALS = " The fundamental of this question is: Even numbers are twice another."
COT = " Let's think step by step. Half of 0 is 0.0."
MISTAKES = " The common mistakes are: Taking odd for even."
TEXTS = {
    "plain": PLAIN,
    "cot": PLAIN + COT,
    "fundamentals": PLAIN + FUNDAMENTALS,
    "mistakes": PLAIN + MISTAKES,
    "five_fields": PLAIN + FUNDAMENTALS + COT + MISTAKES,
}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    default_vocabulary.forget()
    chosen = HuggingFaceVocabulary(tiny_tokenizers.bloom(tmp_path_factory.mktemp("bloom")))
    yield chosen
    default_vocabulary.forget()


@pytest.fixture
def data_dir(tmp_path, monkeypatch, vocabulary):
    """A folder of data, chosen together with the vocabulary."""
    monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, "elsewhere")
    data_setup.DataSetup(vocabulary, str(tmp_path)).apply()
    tiny_records.write_jsonl(tmp_path / "teacherdata" / "train.jsonl", ROWS)
    return tmp_path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_papers_text_cut_where_evaluation_stops(form, data_dir, vocabulary):
    task = seqio.TaskRegistry.get(f"teacherdata_{form}")
    examples = [
        (vocabulary.decode(inputs), vocabulary.decode(targets), targets[-1])
        for inputs, targets in tokenization.tokenized_rows(task, "train")
    ]
    inputs, targets, last = examples[0]
    assert inputs + targets == TEXTS[form]
    assert inputs.endswith("The answer is (")
    assert last == vocabulary.eos_id
    # Open answers.
    inputs, targets, _ = examples[2]
    assert inputs == "Q: Is number 2 even? A: The answer is"
    assert targets.startswith(" Yes.")


def test_rows_without_what_a_form_needs_are_left_out_and_counted(data_dir, caplog):
    caplog.set_level(logging.INFO)
    counts = {
        form: sum(
            1
            for _ in tokenization.tokenized_rows(
                seqio.TaskRegistry.get(f"teacherdata_{form}"), "train"
            )
        )
        for form in FORMS
    }
    assert counts == {"plain": 12, "cot": 12, "fundamentals": 12, "mistakes": 9, "five_fields": 9}
    messages = [record.getMessage() for record in caplog.records]
    assert (
        "teacherdata_mistakes: 3 of 12 rows have no example, since they lack common_mistakes."
        in messages
    )
    assert not [message for message in messages if message.startswith("teacherdata_plain")]


def test_the_mixture_takes_the_simple_forms_evenly(data_dir):
    tables, rates = pipeline.load_tables("teacherdata")
    assert [table.name for table in tables] == [
        "teacherdata_cot",
        "teacherdata_fundamentals",
        "teacherdata_mistakes",
        "teacherdata_plain",
    ]
    assert len(set(rates)) == 1


def test_records_elsewhere_get_a_name_of_their_own(data_dir, tmp_path):
    file = tiny_records.write_parquet(tmp_path / "mine.parquet", ROWS[:5])
    assert registry.task_name("cot", str(file), "teacherlm_test_mine") == "teacherlm_test_mine_cot"
    [table], _ = pipeline.load_tables("teacherlm_test_mine_cot")
    assert len(table) == 5
    assert registry.register(str(file), "teacherlm_test_mine") == "teacherlm_test_mine"
    with pytest.raises(ValueError, match="name = 'a-b', but it must be letters"):
        registry.register(str(file), "a-b")
    with pytest.raises(ValueError, match="form = 'hints', but it must be one of plain"):
        registry.task_name("hints")


def test_a_malformed_row_stops_with_file_and_line(data_dir):
    file = data_dir / "teacherdata" / "train.jsonl"
    file.write_text(ROWS[0].to_json_line() + '\n{"question": "q?", "choices": []}\n')
    with pytest.raises(Exception, match=rf"{file}:2: field 'answer' is missing"):
        pipeline.load_tables("teacherdata_plain")


def test_malformed_rows_are_skipped_and_kept_where_that_is_chosen(data_dir, monkeypatch):
    monkeypatch.setenv("TEACHERLM_MALFORMED_ROWS", "skip")
    monkeypatch.setenv("TEACHERLM_REJECTS_DIR", str(data_dir / "rejects"))
    file = data_dir / "teacherdata" / "train.jsonl"
    file.write_text('{"question": "q?", "choices": []}\n' + ROWS[0].to_json_line())
    [table], _ = pipeline.load_tables("teacherdata_plain")
    assert len(table) == 1
    [kept] = (data_dir / "rejects").rglob("*.rejects.jsonl")
    assert f"{file}:1" in kept.read_text()
