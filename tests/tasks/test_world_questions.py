import collections
import itertools

import pytest

from teacherlm_jax.tasks.world.facts import FAMILIES, PROPERTY_OF_KEY
from teacherlm_jax.tasks.world.questions import (
    QUESTION_TYPES,
    check_split,
    make_questions,
    share_evenly,
)
from teacherlm_jax.tasks.world.splits import KNOWN_SPLITS, RARE_SPLITS, SPLITS
from teacherlm_jax.tasks.world.world import get_world

SEEDS = range(5)
# Least number of questions (tf, mc, both) in any of the worlds 0 to 4.
AT_LEAST = {
    "base": (430, 2000, 2000),
    "base_test": (80, 200, 130),
    "student": (140, 375, 374),
    "teacher": (138, 425, 390),
    "validation": (90, 175, 150),
    "test": (140, 475, 430),
}


@pytest.fixture(params=SEEDS, scope="module")
def world(request):
    return get_world(request.param)


def asked_pairs(world, split):
    return {(name, q.prop.family) for q in world.questions(split) for name in q.animals}


def test_splits_share_no_pair_of_animal_and_family(world):
    for one, other in itertools.combinations(SPLITS, 2):
        assert not asked_pairs(world, one) & asked_pairs(world, other)


def test_every_animal_has_its_share_of_families(world):
    for group, sizes in ((world.names.known, KNOWN_SPLITS), (world.names.rare, RARE_SPLITS)):
        for name in group:
            owners = collections.Counter(world.split_of[name, family] for family in FAMILIES)
            assert owners == sizes


def test_known_and_rare_animals_are_never_asked_together(world):
    known = set(world.names.known)
    for split in SPLITS:
        names = {name for q in world.questions(split) for name in q.animals}
        assert names <= known if split in KNOWN_SPLITS else not names & known


def test_question_of_a_foreign_split_is_refused():
    world = get_world(0)
    question = world.questions("test")[0]
    moved = {**world.split_of, (question.animals[0], question.prop.family): "student"}
    with pytest.raises(ValueError, match=r"split 'test' asks for .* belongs to split 'student'"):
        check_split([question], moved)


def test_counts(world):
    for split, least in AT_LEAST.items():
        counts = collections.Counter(q.type for q in world.questions(split))
        assert all(counts[t] >= n for t, n in zip(QUESTION_TYPES, least)), (split, counts)


def test_labels_are_balanced_for_every_property(world):
    for split in SPLITS:
        sums = collections.Counter()
        for question in world.questions(split):
            if question.type != "mc":
                sums[question.type, question.prop.key] += 1 if question.label else -1
        assert set(sums.values()) == {0}


def test_all_properties_are_asked_of_rare_animals(world):
    for split in RARE_SPLITS:
        asked = {
            type_: {q.prop.key for q in world.questions(split) if q.type == type_}
            for type_ in QUESTION_TYPES
        }
        assert len(asked["tf"]) == 15
        # Few animals lay no eggs or have no backbone, and mc needs two of them.
        assert len(asked["mc"]) >= 13, split


def test_letters_of_mc_are_balanced(world):
    for split in SPLITS:
        letters = collections.Counter(q.answer for q in world.questions(split) if q.type == "mc")
        assert max(letters.values()) - min(letters.values()) <= 1


def test_answers_are_right(world):
    has = world.facts.animal_has
    for split in SPLITS:
        for q in world.questions(split):
            right = q.choices["ABC".index(q.answer)]
            true = [has(name, q.prop) for name in q.animals]
            if q.type == "mc":
                assert [n for n, holds in zip(q.animals, true) if holds] == [right]
            elif q.type == "tf":
                assert right == ("true" if true == [True] else "false")
            else:
                assert right == ("yes" if all(true) else "no")


def test_no_questions_have_one_animal_with_the_property_about_twice_as_often_as_none(world):
    counts = collections.Counter(
        sum(world.facts.animal_has(name, q.prop) for name in q.animals)
        for q in world.questions("base")
        if q.type == "both"
    )
    assert 1.5 < counts[1] / counts[0] < 2.5


def test_ids_are_unique_and_found(world):
    questions = [q for split in SPLITS for q in world.questions(split)]
    assert len({q.id for q in questions}) == len(questions)
    assert world.question(questions[-1].id) == questions[-1]
    with pytest.raises(KeyError, match="no question with id 'nothing'"):
        world.question("nothing")


def test_texts():
    questions = [q for split in SPLITS for q in get_world(0).questions(split)]
    texts = {(q.type, q.prop.key): q for q in questions}
    lake = texts["tf", "lake"]
    assert lake.text == f"true or false: the {lake.animals[0]} lives near a lake."
    assert lake.choices == ("true", "false")
    fur = texts["mc", "fur"]
    assert fur.text == "which animal has fur?"
    assert fur.choices == fur.animals
    backbone = texts["both", "backbone"]
    one, other = backbone.animals
    assert backbone.text == (
        f"would it be right to say that both the {one} and the {other} have a backbone?"
    )
    assert backbone.choices == ("yes", "no")
    assert texts["both", "cold"].text.endswith(" live in a cold place?")
    assert texts["both", "eggs"].text.endswith(" lay eggs?")


def test_orders_of_options():
    questions = get_world(0).questions("student")
    mc = next(q for q in questions if q.type == "mc")
    orders = mc.orders()
    assert orders[0] == mc
    assert len({order.choices for order in orders}) == 6
    assert {order.id for order in orders} == {mc.id}
    right = {order.choices["ABC".index(order.answer)] for order in orders}
    assert right == {mc.choices["ABC".index(mc.answer)]}
    assert collections.Counter(order.answer for order in orders) == {"A": 2, "B": 2, "C": 2}
    assert all(q.orders() == [q] for q in questions if q.type != "mc")


def test_records_are_the_questions():
    world = get_world(0)
    records = world.records("student")
    assert len(records) == len(world.questions("student"))
    for record, question in zip(records, world.questions("student")):
        assert record.id == record.content_id(record.question, record.choices, record.answer)
        assert record.id == question.id
        assert (record.task, record.split) == ("world0_questions", "student")


def test_unknown_split_is_refused():
    world = get_world(0)
    with pytest.raises(ValueError, match=r"split = 'train'.*student"):
        make_questions(0, world.facts, world.split_of, "train")


def test_share_evenly():
    assert share_evenly(7, {"a": 1, "b": 5, "c": 5}) == {"a": 1, "b": 3, "c": 3}
    assert share_evenly(100, {"a": 1, "b": 5}) == {"a": 1, "b": 5}
    assert share_evenly(1, {"a": 0, "b": 5, "c": 5}) == {"a": 0, "b": 1, "c": 0}
    assert PROPERTY_OF_KEY["fur"].singular == "has fur"
