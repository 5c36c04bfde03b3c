"""Every evaluation task: its rows as written down here, its mixtures, and both evaluators."""

import functools
import json

import numpy as np
import pytest
import seqio

from teacherlm_jax.data import data_setup, default_vocabulary
from teacherlm_jax.data.feature_converter import DecoderFeatureConverter
from teacherlm_jax.data.row_rendering import RowError, raw_row
from teacherlm_jax.evaluation import evaluator
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.scores import ScoringPolicy
from teacherlm_jax.tasks import text_tasks
from teacherlm_jax.tasks.catalogue.dataset import DATASETS
from teacherlm_jax.tasks.evaluation import forms, mmlu, registry
from tests import tiny_study
from tests.tasks import catalogue_rows_a, catalogue_rows_b, catalogue_rows_evaluation
from tests.tasks.catalogue_rows import mocked
from tests.tasks.catalogue_rows_evaluation import changed, without_tfds, write_mirrors
from tests.tiny_study import MODEL, random_params

NLI = (
    'A man in a {red} coat plays a cello on the pier.\nDoes it follow that "Somebody makes music."?'
)
STORY = "Ada planted beans in May. The frost came in June. She sowed again {late}."
LOGIC = "All {cats} sleep. What follows?|Cats sleep.|Cats run.|Dogs sleep.|Cats run.|C"
ARC = "What boils?|ice|water|sand|salt|B"

# Question|options…|letter of the right one.
GOLDEN = {
    "creak": "Determine the correctness of the following sentence. {Soup} is wet.|True|False|A",
    "ecqa": "What  is the sky?|{red}|blue|blue|grey|pink|C",
    "ecqa_doubled": "Q: What  is the sky?|{red}|blue|blue|grey|pink|C",
    "strategyqa": "Could an {Ox} run?|True|False|B",
    "strategyqa_with_facts": "Fact 1: one fact. Fact 2: Two facts. Given these facts above, could"
    " an {ox} run?|True|False|B",
    "mmlu_college_physics": "Which drink is {white} and warm.|milk|t ea|-|-|B",
    "anli_r1": f"{NLI}|Yes|It's impossible to say|No|B",
    "anli_r2": f"{NLI}|Yes|It's impossible to say|No|B",
    "anli_r3": f"{NLI}|Yes|It's impossible to say|No|B",
    "cb": f"{NLI}|Yes|No|It's impossible to say|B",
    "rte": f"{NLI}|yes|no|B",
    "wic": 'A {river} bank.\nThe bank lent.\nDoes the word "bank" have different meanings or the'
    " same meaning in these sentences?"
    "|different meanings|the same meaning|A",
    "boolq": "Chalk is a soft {white} rock.\nIs chalk a rock?|no|yes|B",
    "commonsense_qa": "What (of these) is {hot}?|milk|tea|juice|soup|D",
    "copa": "The {old} lamp went out. What was the cause of this?|The oil was used up."
    "|It was noon.|A",
    "cosmos_qa": f"{STORY}\nWhy did she sow again?|She was bored.|Frost killed the beans.|Ada left."
    "|None of these.|B",
    "cos_e": "What is {hot}?|milk|soup|ice|snow|fog|B",
    "hellaswag": "Home: How to sew. Thread {it}. You\nHow does this go on?|sing.|tie a knot.|run."
    "|swim.|B",
    "logiqa": LOGIC,
    "logiqa2": LOGIC,
    "math_qa": "what is {3} x 400 ?|1 , 200|rs . 5|1 : 2|x ^ 2|rs . 5|A",
    "openbookqa": "What {most} helps a seed?|rain|ink|sand|wax|A",
    "piqa": "How is this done? To {fully} dry boots,|fill them with soup.|fill them with paper.|B",
    "qasc": "What {do} seeds need?|rain|ink|B",
    "sciq": "What {melts}?|b|ice|a|c|B",
    "social_iqa": "Kim ran. Why?|fun|late|air|B",
    "winogrande": "The jug did not fit the shelf because _ was too tall.\nWhat belongs in"
    " the gap (_)?|the shelf|the jug|B",
    "arc_challenge": ARC,
    "arc_easy": ARC,
}


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory):
    """Rows by hand: in TFDS where it has the set, else in a mirror."""
    default_vocabulary.forget()
    default_vocabulary.choose(tiny_study.vocabulary())
    of_tfds = {
        **catalogue_rows_a.CASES,
        **catalogue_rows_b.CASES,
        **catalogue_rows_evaluation.CASES,
        **catalogue_rows_evaluation.OTHERS,
    }
    rows = {name: [row] for name, row in without_tfds()}
    rows["mmlu"] = [changed("mmlu", subject=subject) for subject in reversed(mmlu.SUBJECTS)]
    rows["mmlu"] += [changed("mmlu", question="Again?")]
    # The test rows of the release have no label.
    rows["creak"] = [changed("creak"), changed("creak", label=None), changed("creak", ex_id="4")]
    folder = tmp_path_factory.mktemp("mirrors")
    write_mirrors(folder, rows)
    with pytest.MonkeyPatch.context() as patch, mocked(of_tfds):
        patch.setenv(data_setup.DATA_DIR_VARIABLE, str(folder))
        yield
    default_vocabulary.forget()


@functools.cache
def rendered_rows(task):
    """A task's rows as they are before they are numbered and made tokens."""
    source = seqio.TaskRegistry.get(task).source
    form = task.rpartition("_")[2]
    return [
        row
        for element in source.get_dataset("evaluation").as_numpy_iterator()
        for row in forms.option_rows(task, form, registry.TASKS[task], raw_row(element))
    ]


@functools.cache
def rows_of(task):
    """A task's rows as seqio gives them."""
    dataset = seqio.TaskRegistry.get(task).get_dataset(split="evaluation", shuffle=False)
    return list(dataset.as_numpy_iterator())


def names_without_subjects():
    names = {asked.name for asked in registry.TASKS.values()}
    subjects = {f"mmlu_{subject}" for subject in mmlu.SUBJECTS}
    return names - subjects | {"mmlu_college_physics"}


def test_every_set_has_a_golden_question():
    assert GOLDEN.keys() == names_without_subjects()
    assert len(registry.TASKS) == 2 * (57 + len(GOLDEN) - 1) - 1


@pytest.mark.parametrize("name", GOLDEN)
def test_questions_are_asked_as_written_here(name):
    question, *choices, answer = GOLDEN[name].split("|")
    prefix = ""
    if name.startswith("mmlu"):
        prefix = (
            "The following are multiple choice questions (with answers) about college physics. "
        )
    letters = "ABCDE"[: len(choices)]
    listed = " ".join(f"({letter}) {text}" for letter, text in zip(letters, choices))
    expected = {
        f"{name}_letters": (f"{prefix}Q: {question} {listed} A: The answer is (", list(letters)),
        f"{name}_options": (f"{prefix}Q: {question} A: The answer is", [f" {c}" for c in choices]),
    }
    if name == "ecqa_doubled":
        del expected[f"{name}_options"]
    for task, (prompt, targets) in expected.items():
        rows = rendered_rows(task)[: len(choices)]
        assert [row["option"] for row in rows] == list(range(len(choices)))
        assert [row["inputs"] for row in rows] == [prompt] * len(choices)
        assert [row["targets"] for row in rows] == targets
        assert [row["is_correct"] for row in rows] == [each == answer for each in letters]
        for row in rows:
            assert row["choices"].split("\x1f") == choices
            assert (row["question"], row["answer"], row["task"]) == (question, answer, task)


def test_ids_are_the_sets_or_of_the_content():
    assert [row["id"] for row in rendered_rows("creak_letters")] == ["train_3", "train_3", "4", "4"]
    letters, options = (rendered_rows(f"math_qa_{form}") for form in ("letters", "options"))
    assert len({row["id"] for row in letters + options}) == 1
    assert len(letters[0]["id"]) == 20


def check_features(task):
    """Checks seqio's rows of a task against the rendered ones."""
    rows, rendered = rows_of(task), rendered_rows(task)
    vocabulary = tiny_study.vocabulary()
    question = -1
    assert len(rows) == len(rendered) > 1
    for row, expected in zip(rows, rendered):
        # The third row of CREAK has no label, and leaves no gap.
        question += expected["option"] == 0
        assert row["idx"].tolist() == [question, expected["option"]]
        assert row["idx"].dtype == np.int32
        assert row["choices"].tolist() == expected["choices"].encode().split(b"\x1f")
        assert row["is_correct"] == expected["is_correct"]
        for name in ("id", "task", "subject", "question", "answer"):
            assert row[name].decode() == expected[name]
        for name in ("inputs", "targets"):
            assert row[f"{name}_pretokenized"].decode() == expected[name]
            assert row[name].tolist() == vocabulary.encode(expected[name])


@pytest.mark.parametrize("task", ["creak_letters", "ecqa_options", "piqa_letters"])
def test_features_of_the_examples(task):
    check_features(task)


@pytest.mark.slow
def test_features_of_the_examples_of_every_task():
    for task in registry.TASKS:
        check_features(task)


# MMLU


def test_every_subject_has_its_own_rows_and_words():
    source = text_tasks.source(DATASETS["mmlu"])
    raw_rows = [raw_row(each) for each in source.get_dataset("test").as_numpy_iterator()]
    for subject in mmlu.SUBJECTS:
        task = f"mmlu_{subject}_letters"
        asked = registry.TASKS[task]
        rows = [row for raw in raw_rows for row in forms.option_rows(task, "letters", asked, raw)]
        assert {row["subject"] for row in rows} == {subject}
        start = f"(with answers) about {subject.replace('_', ' ')}. Q: "
        assert all(start in row["inputs"] for row in rows)
        assert len(rows) == (8 if subject == "college_physics" else 4)


@pytest.mark.parametrize("subject", ["anatomy", "college_physics"])
def test_the_source_of_a_subject_gives_its_rows_alone(subject):
    source = seqio.TaskRegistry.get(f"mmlu_{subject}_letters").source
    rows = [raw_row(each) for each in source.get_dataset("test").as_numpy_iterator()]
    assert {row.values["subject"] for row in rows} == {subject}
    assert len({row.index for row in rows}) == len(rows) == (2 if "physics" in subject else 1)
    # What the mirror counts are rows of every subject.
    assert source.num_input_examples("test") is None


def test_rows_are_looked_at_closer_where_their_subject_cannot_be_ruled_out():
    [asked] = [each for each in mmlu.SETS if each.subject == "college_physics"]
    for row in (changed("mmlu"), changed("mmlu", subject=None, task="college physics")):
        assert asked.may_have(json.dumps(row).encode())
        assert asked.has(row)
    of_another = changed("mmlu", subject="anatomy", question="What is college physics?")
    assert asked.may_have(json.dumps(of_another).encode())
    assert not asked.has(of_another)
    assert not asked.may_have(json.dumps(changed("mmlu", subject="anatomy")).encode())
    # So that the reader can say what is missing.
    without = changed("mmlu", subject=None)
    assert asked.may_have(json.dumps(without).encode()) and asked.has(without)


@pytest.mark.parametrize("form", ["letters", "options"])
def test_groups_are_mixtures_inside_of_mixtures(form):
    groups = evaluator.groups_of(f"all_evaluation_{form}")
    assert len(groups[f"mmlu_{form}"]) == 57
    assert len(groups[f"mmlu_other_{form}"]) == 14
    assert len(groups[f"paper_evaluation_{form}"]) == 61
    assert len(groups[f"all_evaluation_{form}"]) == 57 + len(GOLDEN) - 3
    theirs = evaluator.groups_of(f"mmlu_lm_eval_{form}")
    assert f"mmlu_anatomy_{form}" in theirs[f"mmlu_lm_eval_stem_{form}"]
    assert f"mmlu_anatomy_{form}" in groups[f"mmlu_other_{form}"]
    assert sorted(len(tasks) for tasks in theirs.values()) == [12, 13, 13, 19, 57]


def test_tasks_of_a_mixture_are_even():
    mixture = seqio.MixtureRegistry.get("all_evaluation_letters")
    assert len({round(float(mixture.get_rate(task)), 9) for task in mixture.tasks}) == 1


def test_splits_are_the_sources_and_the_reported_one():
    reported = {
        "mmlu_anatomy": ("validation", {"train", "validation", "test"}),
        "creak": ("validation", {"train", "validation"}),
        "ecqa": ("test", {"train", "validation", "test"}),
        "arc_easy": ("test", {"train", "validation", "test"}),
        "winogrande": ("validation", {"train", "validation"}),
    }
    for name, (split, splits) in reported.items():
        task = seqio.TaskRegistry.get(f"{name}_letters")
        assert set(task.splits) == splits | {"evaluation"}
        assert task.source.slices["evaluation"] == split
    assert seqio.TaskRegistry.get("mmlu_anatomy_options").source.slices["train"] == "dev"


# Texts


def test_decontamination_gets_each_question_once_with_its_own_texts():
    first, second = registry.evaluation_texts("creak_options")
    assert (first.id, second.id) == ("train_3", "4")
    assert first.fields == {"sentence": "{Soup} is wet."}
    assert first.question.startswith("Determine the correctness")
    assert (first.choices, first.answer) == (("True", "False"), "A")
    assert len(list(registry.evaluation_texts("mmlu_college_physics_letters", "test"))) == 2


@pytest.mark.parametrize(
    ("task", "split", "message"),
    [
        ("creak_lettrs", "evaluation", "'creak_lettrs' is no evaluation task"),
        ("creak_letters", "test", "creak_letters has no split 'test'"),
    ],
)
def test_texts_of_what_is_not_there(task, split, message):
    with pytest.raises(ValueError, match=message):
        list(registry.evaluation_texts(task, split))


def test_malformed_rows_are_left_out_of_texts_where_they_are_of_tasks(tmp_path, monkeypatch):
    write_mirrors(tmp_path, {"creak": [changed("creak", label="?"), changed("creak", ex_id="5")]})
    monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, str(tmp_path))
    with pytest.raises(RowError, match=r"rows.jsonl:1: .*must be true or false"):
        list(registry.evaluation_texts("creak_letters"))
    monkeypatch.setenv("TEACHERLM_MALFORMED_ROWS", "skip")
    assert [question.id for question in registry.evaluation_texts("creak_letters")] == ["5"]


# Evaluators

TINY = "tiny_public_evaluation"


def test_both_evaluators_take_them():
    tasks = ["creak_letters", "ecqa_letters", "mmlu_college_physics_options"]
    seqio.MixtureRegistry.add(TINY, tasks, default_rate=1)
    scorer = Scorer(Decoder(MODEL), ScoringPolicy(max_length=64, bos_id=0), batch_size=8)
    ours = evaluator.RankEvaluator(TINY, "evaluation", scorer).evaluate(random_params())
    counts = {task: values["questions"] for task, values in ours.items()}
    assert counts == dict(zip(tasks, [2, 1, 2]))
    plain = seqio.Evaluator(
        TINY,
        feature_converter=DecoderFeatureConverter(pack=False),
        eval_split="evaluation",
        logger_cls=(),
    )
    score_fn = evaluator.make_score_fn(scorer, random_params())
    future, _ = plain.evaluate(compute_metrics=True, score_fn=score_fn)
    for task, values in future.result().items():
        for name, value in values.items():
            assert getattr(value, "value", value) == ours[task][name]
