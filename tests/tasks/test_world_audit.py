import dataclasses

import pytest

from teacherlm_jax.tasks.world import arms, audit
from teacherlm_jax.tasks.world import sentences as say
from teacherlm_jax.tasks.world.facts import PROPERTIES
from teacherlm_jax.tasks.world.world import get_world
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS


@pytest.fixture(scope="module")
def world():
    return get_world(0)


@pytest.fixture(scope="module")
def gold(world):
    return [audit.gold_record(world, record) for record in world.records("student")]


def held_out_sentence(world):
    name, prop = next(
        (name, prop)
        for prop in PROPERTIES
        for name in world.names.rare
        if world.split_of[name, prop.family] == "test"
    )
    return say.conclusion(name, prop, world.facts.animal_has(name, prop))


def test_gold_is_all_true_and_to_the_point(world, gold):
    everything = dict.fromkeys(EXPLANATION_FIELDS, 100.0)
    assert audit.truth_rates(world, gold) == everything
    assert audit.only_question_names(world, gold) == everything


def test_rates_are_percentages_of_explanations(world, gold):
    records = gold[:4]
    other = next(n for n in world.names.rare if n not in world.question(records[0].id).animals)
    true_of_other = say.animal_fact(world.facts.animals[other], "food")
    records = [
        dataclasses.replace(records[0], fundamentals=f"{records[0].fundamentals} {true_of_other}"),
        dataclasses.replace(records[1], fundamentals="every bird has fur."),
        dataclasses.replace(records[2], fundamentals=""),
        dataclasses.replace(records[3], chain_of_thought=records[3].chain_of_thought[:-1]),
    ]
    assert audit.truth_rates(world, records) == {
        "fundamentals": 50.0,
        "chain_of_thought": 75.0,
        "common_mistakes": 100.0,
    }
    assert audit.only_question_names(world, records)["fundamentals"] == 25.0


def test_no_records_have_no_rate(world):
    for function in (audit.truth_rates, audit.only_question_names):
        with pytest.raises(ValueError, match="no records"):
            function(world, [])
    with pytest.raises(KeyError, match="world 0 has no question"):
        audit.truth_rates(world, get_world(1).records("student"))


def test_gold_record(world, gold):
    question = world.question(gold[0].id)
    assert gold[0].fundamentals == world.gold(question, "fundamentals")
    assert gold[0].provenance["common_mistakes"] == {"annotator": "world", "seed": 0}
    bare = dataclasses.replace(
        gold[0], fundamentals="", chain_of_thought="", common_mistakes="", provenance={}
    )
    assert bare == world.records("student")[0]


def test_coverage_counts_questions_whose_facts_are_all_stated(world):
    question = next(q for q in world.questions("test") if q.type == "both")
    slot = question.prop.slot
    one, other = (world.facts.animals[name] for name in question.animals)
    texts = {
        "none": [],
        "one": [say.animal_fact(one, slot)],
        "both": [say.animal_fact(one, slot), f"A). The x is: {say.animal_fact(other, slot)}"],
    }
    rates = audit.coverage(world, texts)
    assert rates["none"] == 0.0
    asked_of_both = [
        q
        for q in world.questions("test")
        if q.prop.slot == slot and set(q.animals) <= {one.name, other.name}
    ]
    asked_of_one = [q for q in asked_of_both if q.animals == (one.name,)]
    count = len(world.questions("test"))
    assert question in asked_of_both
    assert rates["one"] == pytest.approx(100 * len(asked_of_one) / count)
    assert rates["both"] == pytest.approx(100 * len(asked_of_both) / count)


def test_a_mistake_put_right_covers_and_a_false_fact_does_not(world):
    name = next(q.animals[0] for q in world.questions("test") if q.prop.slot == "food")
    right = world.facts.animals[name].food
    wrong = next(food for food in world.facts.values["food"] if food != right)
    corrected = f"beware: the {name} does not eat {wrong} but {right}."
    false = f"the {name} eats {wrong}."
    key = (name, "food")
    assert world.believed_base_facts([corrected]) == {key: right}
    assert world.believed_base_facts([false]) == {key: wrong}
    assert world.believed_base_facts([false, corrected]) == {}
    assert world.believed_base_facts([false, corrected, f"the {name} eats {right}."]) == {
        key: right
    }


def test_coverage_of_the_arms(world, gold):
    names = ("plain", "fundamentals", "cot", "mistakes", "scrambled_fundamentals")
    rates = audit.coverage(world, {name: arms.arm_texts(world, name, gold) for name in names})
    assert rates["plain"] == 0.0
    assert rates["fundamentals"] > 95.0
    assert 10.0 < rates["cot"] < rates["fundamentals"]
    assert 10.0 < rates["mistakes"] < rates["fundamentals"]
    # False statements that hit the truth by chance are outnumbered by those that do not.
    assert rates["scrambled_fundamentals"] < 3.0


def test_held_out_sentences_are_dropped_and_counted(world, gold):
    leak = held_out_sentence(world)
    first = gold[0].chain_of_thought
    records = [
        dataclasses.replace(gold[0], chain_of_thought=f"{first} so {leak}"),
        dataclasses.replace(gold[1], chain_of_thought=leak, fundamentals=f"{leak} {leak}"),
        gold[2],
    ]
    kept, dropped = audit.drop_held_out(world, records)
    assert dropped == {"fundamentals": 2, "chain_of_thought": 2, "common_mistakes": 0}
    assert [record.chain_of_thought for record in kept[:2]] == [first, ""]
    assert kept[1].fundamentals == ""
    assert kept[2] == gold[2]
    assert [record.id for record in kept] == [record.id for record in records]


def test_gold_has_nothing_to_drop(world, gold):
    kept, dropped = audit.drop_held_out(world, gold)
    assert kept == gold
    assert set(dropped.values()) == {0}
