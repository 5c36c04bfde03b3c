"""The embedded world as a subject: what an experiment asks of it."""

import collections
import dataclasses
import re

import numpy as np
import pytest
import seqio

from teacherlm_jax.data import pipeline
from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.students import experiment
from teacherlm_jax.students.subject import Subject
from teacherlm_jax.tasks.world import arms, audit
from teacherlm_jax.tasks.world.study import CHANCE, WorldStudy
from teacherlm_jax.tasks.world.world import get_world
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS, MARKERS

TYPES = ("tf", "mc", "both")


@pytest.fixture(scope="module")
def world():
    return get_world(0)


@pytest.fixture(scope="module")
def study():
    return WorldStudy(0)


@pytest.fixture(scope="module")
def records(world):
    return [audit.gold_record(world, record) for record in world.records("student")]


def test_a_world_is_a_subject_and_its_tasks_are_there(study):
    subject: Subject = study  # mypy holds the types
    assert (subject.name, subject.seed) == ("world0", 0)
    assert isinstance(pipeline.registered(subject.questions_task), seqio.Task)
    for name, splits in (
        (subject.evaluation, {"validation", "test"}),
        (subject.base_evaluation, {"test"}),
    ):
        mixture = pipeline.registered(name)
        assert set(mixture.splits) == splits
        # As `experiment.by_type` reads the names.
        accuracies = {task.name: {"accuracy": float(i)} for i, task in enumerate(mixture.tasks)}
        assert set(experiment.by_type(accuracies)) == set(TYPES)


def test_any_seed_is_a_world_of_its_own():
    other = WorldStudy(23)
    assert other.name == "world23"
    assert pipeline.registered(other.evaluation)
    with pytest.raises(ValueError, match="seed = -1"):
        WorldStudy(-1)


def test_chance_is_that_of_guessing(world):
    by_type = collections.defaultdict(list)
    for question in world.questions("test"):
        by_type[question.type].append(1 / len(question.choices))
    means = [100 * np.mean(by_type[type_]) for type_ in TYPES]
    assert pytest.approx(np.mean(means)) == CHANCE
    assert pytest.approx(400 / 9) == CHANCE


def test_every_arm_has_a_meaning_and_the_experiment_knows_them_all(study):
    assert tuple(arms.ARMS) == experiment.ARMS
    assert len({study.meaning(arm) for arm in experiment.ARMS}) == len(experiment.ARMS)
    with pytest.raises(ValueError, match="Did you mean 'fundamentals'"):
        study.meaning("fundamental")


def test_an_arm_is_a_mixture_of_its_samples_and_the_same_replay(study, records):
    replay = {f"world0_base_plain_{type_}" for type_ in TYPES}
    for arm in ("plain", "all"):
        mixture = seqio.MixtureRegistry.get(study.register_arm(arm, records))
        rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
        own = {name: rate for name, rate in rates.items() if f"_student_{arm}_" in name}
        assert set(rates) == {*own, *replay}
        assert sum(rates.values()) == pytest.approx(1)
        assert list(own.values()) == pytest.approx([0.6 / 3] * 3)


def test_an_arm_registered_again_takes_the_new_records(study, records):
    def targets(name):
        task = next(t for t in seqio.MixtureRegistry.get(name).tasks if name in t.name)
        [example] = task.get_dataset(split="train", shuffle=False).take(1).as_numpy_iterator()
        return example["targets_pretokenized"].decode()

    first = targets(study.register_arm("fundamentals", records))
    other = [dataclasses.replace(r, fundamentals="ferns are plants.") for r in records]
    second = targets(study.register_arm("fundamentals", other))
    assert second != first and second.endswith("ferns are plants.")


def test_the_scrambled_arm_meets_fresh_names_in_every_sample(study, world, records):
    name = study.register_arm("scrambled_fundamentals", records)
    table = pipeline.load_table(seqio.TaskRegistry.get(f"{name}_tf"), "train")
    decode = world.vocabulary().decode
    names = collections.defaultdict(list)
    asked_about = 0
    for example in table.examples:
        question, text = decode(example.inputs.tolist()), decode(example.targets.tolist())
        explanation = text.partition(MARKERS["fundamentals"])[2]
        named = [w for w in re.findall("[a-z]+", explanation) if w in world.facts.animals]
        names[question].append(tuple(dict.fromkeys(named)))
        asked_about += any(animal in re.findall("[a-z]+", question) for animal in named)
    # A student of 800 steps x 16 rows, a fifth of them of this type, meets no sample twice.
    assert len(table.examples) >= 800 * 16 / 5
    # Of 96 animals, each question meets nearly as many as it has samples.
    repeats = [len(found) - len(set(found)) for found in names.values()]
    assert min(map(len, names.values())) > 10 and np.mean(repeats) < 3
    # The animal that is asked about is named as often as any other.
    assert asked_about / len(table.examples) < 0.05


def test_clean_takes_out_what_evaluation_asks_and_counts_it(study, world, records):
    leak = next(
        sentence
        for sentence in sorted(world.true_sentences)
        if world.states_held_out(sentence) and sentence.startswith("the ")
    )
    fine = records[1].chain_of_thought
    spoilt = [
        dataclasses.replace(records[0], chain_of_thought=leak),
        dataclasses.replace(records[1], chain_of_thought=f"{fine} {leak}"),
        *records[2:],
    ]
    kept, dropped = study.clean(spoilt)
    assert dropped == {"fundamentals": 0, "chain_of_thought": 2, "common_mistakes": 0}
    assert [record.chain_of_thought for record in kept[:2]] == ["", fine]
    assert kept[2:] == records[2:]


def test_records_of_another_world_are_refused_in_words(study):
    strange = get_world(1).records("student")
    with pytest.raises(ValueError, match=r"world 0 has no question .*this very world"):
        study.clean(strange)
    made_up = TeacherDataRecord.create("is it so?", ["yes", "no"], "A")
    with pytest.raises(ValueError, match="world 0 has no question"):
        study.clean([made_up])


def test_audit_measures_truth_and_coverage_in_percent(study, world, records):
    audited = study.quality(records)
    coverage = study.coverage(records, ["plain", "gold_fundamentals"])
    assert audited["truth_rate"] == dict.fromkeys(EXPLANATION_FIELDS, 100.0)
    assert audited["only_question_names"] == dict.fromkeys(EXPLANATION_FIELDS, 100.0)
    assert coverage["plain"] == 0.0
    assert coverage["gold_fundamentals"] > 90.0
    false = [dataclasses.replace(r, fundamentals="every bird has fur.") for r in records[:90]]
    audited = study.quality([*false, *records[90:]])
    share = (len(records) - 90) / len(records)
    assert audited["truth_rate"]["fundamentals"] == pytest.approx(100 * share)
    assert audited["truth_rate"]["chain_of_thought"] == 100.0


@pytest.mark.parametrize(("count", "types"), [(6, "tf tf mc mc both both"), (4, "tf tf mc mc")])
def test_samples_show_each_type_beside_the_truth(study, records, count, types):
    wrong = [dataclasses.replace(r, common_mistakes="every bird has fur.") for r in records]
    samples = study.samples(wrong, count)
    assert [sample["type"] for sample in samples] == types.split()
    for sample in samples:
        shown = sample["explanations"]
        assert shown["fundamentals"]["teacher"] == shown["fundamentals"]["gold"]
        assert shown["fundamentals"]["true"] is True
        assert shown["common_mistakes"]["teacher"] == "every bird has fur."
        assert shown["common_mistakes"]["true"] is False
        assert sample["answer"] in "ABC"[: len(sample["choices"])]
