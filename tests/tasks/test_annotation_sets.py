import csv

import gin
import pytest
import seqio

from teacherlm_jax.data import data_setup, default_vocabulary
from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.data.row_rendering import RawRow
from teacherlm_jax.main import gin_setup
from teacherlm_jax.tasks import annotation_sets, exclusions
from teacherlm_jax.tasks.muffin.flan_tasks import FLAN_TASKS
from teacherlm_jax.tasks.p3 import p3_sets
from teacherlm_jax.teacher import annotate
from tests import tiny_study
from tests.source import ROOT
from tests.tasks import catalogue_rows, catalogue_rows_a, catalogue_rows_b, hosts, p3_rows

CASES = {**catalogue_rows_a.CASES, **catalogue_rows_b.CASES, **p3_rows.CASES}
REFERENCE = ROOT.parent / "shared" / "reference"
FILE = "annotation/annotation_58.gin"


@pytest.fixture(scope="module")
def lists():
    """The lists of the configuration file."""
    statements = gin_setup.read(FILE)
    (found,) = (each.value for each in statements if each.parameter == "lists")
    return found


def lines_of(table: str, column: str) -> list[dict[str, str]]:
    path = REFERENCE / table
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with path.open(encoding="utf-8", newline="") as stream:
        return [line for line in csv.DictReader(stream) if line[column] == "yes"]


def record_of(name: str, **changes) -> TeacherDataRecord:
    case = CASES[annotation_sets.QUESTION_SETS[name].dataset]
    row = RawRow({**(case.hub or case.row), **changes}, 7, "here")
    found = annotation_sets.records(row, name, exclusions.Exclusions())
    return TeacherDataRecord.from_features(next(iter(found)))


def of_task(name: str) -> list[TeacherDataRecord]:
    annotation = annotate.Annotation(name, "/none", "/none", tiny_study.MODEL)
    return annotate.questions(annotation)


# Lists


def test_list_a_is_the_reference(lists):
    lines = lines_of("p3.csv", "proposed_58_list_a")
    sets = {each.name: each for each in p3_sets.P3_SETS}
    wanted = [sets[f"{line['dataset']}/{line['subset']}".rstrip("/")] for line in lines]
    names = [each.name if len(each.parts) > 1 else each.parts[0] for each in wanted]
    assert len(lists["a"]) == len(set(lists["a"])) == 58
    assert set(lists["a"]) == set(names)


def test_list_b_is_the_reference(lists):
    lines = lines_of("muffin.csv", "proposed_58_list_b")
    names = {
        task if task.startswith("mnli") else FLAN_TASKS[task].dataset
        for task in (line["task"] for line in lines)
    }
    assert len(lists["b"]) == len(set(lists["b"])) == 58
    assert set(lists["b"]) == names


def test_the_lists_have_as_many_questions_as_the_file_says(lists):
    totals = {
        name: sum(count for _, _, count in annotation_sets.capped(lists[name])) for name in lists
    }
    assert totals == {"a": 160_951, "b": 155_371}


def test_the_file_names_a_mixture():
    try:
        gin_setup.parse([FILE], ["ANNOTATION_LIST = 'b'"])
        name = gin_setup.bound(annotation_sets.mixture)()
    finally:
        gin.clear_config()
    mixture = seqio.MixtureRegistry.get(name)
    assert name.startswith("questions_b_")
    assert sum(mixture.get_rate(task) for task in mixture.tasks) == 155_371
    assert len(mixture.tasks) == 58


def test_the_halves_of_mnli_share_no_row():
    halves = [annotation_sets.QUESTION_SETS[f"mnli_{kind}matched"] for kind in ("", "mis")]
    assert [half.split for half in halves] == ["train[:196251]", "train[196251:-200]"]
    assert [half.examples for half in halves] == [196_251, 196_251]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: annotation_sets.mixture({"a": ["dream"]}, "c"), r"'c', but the lists are \['a'\]"),
        (lambda: annotation_sets.mixture({"a": ["dreams"]}, "a"), r"\['dreams'\] are no data sets"),
        (lambda: annotation_sets.mixture({"a": ["dream"] * 2}, "a"), "2 names, 1 of them"),
        (lambda: annotation_sets.mixture({"a": []}, "a"), "0 names"),
        (lambda: annotation_sets.task("anli"), "name = 'anli', but it must be one of"),
        (lambda: annotation_sets.task("dream", max_examples=0), "max_examples = 0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_another_list_is_another_mixture():
    names = [
        annotation_sets.mixture({"mine": found}, "mine")
        for found in (["dream", "anli"], ["dream"], ["dream", "anli"])
    ]
    assert names[0] == names[2] != names[1]
    tasks = [task.name for task in seqio.MixtureRegistry.get(names[0]).tasks]
    assert tasks == [*(f"questions_anli_r{n}_max{c}" for n, c in SHARES), "questions_dream"]


SHARES = ((1, 312), (2, 837), (3, 1_851))


# Records


@pytest.mark.parametrize("name", annotation_sets.QUESTION_SETS)
def test_every_case_becomes_a_record(name):
    record, sample = record_of(name), CASES[annotation_sets.QUESTION_SETS[name].dataset].sample
    assert record.id == f"{name}:7"
    assert (record.task, record.split) == (name, "train")
    if record.choices:
        assert record.choices == sample.options
        assert record.choices["ABCDEFGHIJKLMN".index(record.answer)] == sample.answer
    else:
        assert record.answer == sample.answer


def test_too_many_options_for_letters_leave_the_answer_open():
    many = [f"place {number}" for number in range(27)]
    record = record_of("wiki_hop_original", candidates=many, answer="place 26")
    assert (record.choices, record.answer) == ((), "place 26")
    record = record_of("wiki_hop_original", candidates=many[:26], answer="place 25")
    assert record.answer == "Z"


def test_a_task_gives_records_whose_ids_differ(tmp_path):
    default_vocabulary.forget()
    default_vocabulary.choose(seqio.ByteVocabulary())
    with p3_rows.given(tmp_path, copies=3):
        for name, count in (("race_high", 6), ("wiki_bio", 3), ("quail", 3)):
            found = of_task(f"questions_{name}")
            assert len({record.id for record in found}) == count
            assert {record.task for record in found} == {name}
        few = annotation_sets.task("race_high", max_examples=4)
        assert [record.id.encode() for record in of_task(few)] == hosts.check_parts(few)
        assert len(of_task(few)) == 4
        (row, *_) = seqio.TaskRegistry.get("questions_quail").get_dataset(None, "train")
    assert bytes(number - 3 for number in row["targets"].numpy()) == b"A"
    default_vocabulary.forget()


def test_samples_of_a_list_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, str(tmp_path))
    rows = [{**CASES["cos_e"].row, "id": f"c{number}"} for number in range(30)]
    p3_rows.write_mirror(tmp_path, "cos_e", rows)
    path = tmp_path / "ids.txt"
    path.write_text("cos_e c4\ncos_e c5\n", encoding="utf-8")
    found = of_task(annotation_sets.task("cos_e", max_examples=20, excluded_ids=path))
    assert len(found) == 20
    assert not {record.id for record in found} & {"cos_e:4", "cos_e:5"}


def test_a_mixture_is_annotated_task_by_task(tmp_path):
    name = annotation_sets.mixture({"few": ["piqa", "anli", "glue_mrpc"]}, "few", max_examples=2)
    with catalogue_rows.mocked(CASES):
        found = of_task(name)
    tasks = [record.task for record in found]
    assert tasks == ["anli_r3"] * 2 + ["glue_mrpc"] * 2 + ["piqa"] * 2
