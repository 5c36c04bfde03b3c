import pytest

from teacherlm_jax.tasks.world import sentences as say
from teacherlm_jax.tasks.world.facts import PROPERTIES
from teacherlm_jax.tasks.world.world import get_world


@pytest.fixture(scope="module")
def world():
    return get_world(0)


def animal_of_kind(world, kind):
    return next(animal for animal in world.facts.animals.values() if animal.kind == kind)


@pytest.mark.parametrize(
    ("kind", "true", "false"),
    [
        ("bird", "the {} has feathers.", "the {} has fur."),
        ("bird", "the {} lays eggs.", "the {} does not lay eggs."),
        ("mammal", "the {} does not lay eggs.", "the {} lays eggs."),
        ("insect", "the {} does not have a backbone.", "the {} has a backbone."),
        ("insect", "the {} is an insect.", "the {} is a insect."),
        ("fish", "the {} is not a bird but a fish.", "the {} is not a fish but a bird."),
        ("fish", "the {} is not a mammal.", "the {} is not a fish."),
        ("amphibian", "so the {} does not have warm blood.", "so the {} has warm blood."),
        ("reptile", "beware: the {} has scales.", "beware: the {} has wings."),
    ],
)
def test_truth_of_sentences_about_kinds(world, kind, true, false):
    name = animal_of_kind(world, kind).name
    assert world.check(true.format(name))
    assert not world.check(false.format(name))


def test_truth_of_rules(world):
    true = ["every mammal has fur.", "no insect has a backbone.", "ferns are plants."]
    true += ["crabs are not plants.", "every fish has a backbone.", "no amphibian has scales."]
    false = [
        "every bird has fur.",
        "no bird has wings.",
        "ferns are animals.",
        "no mammal has fur.",
    ]
    assert all(world.check(sentence) for sentence in true)
    assert not any(world.check(sentence) for sentence in false)


def test_truth_about_places_and_foods(world):
    animal = next(iter(world.facts.animals.values()))
    traits = world.facts.traits[animal.home]
    near_lake = "lake" in traits
    assert world.check(f"{animal.home} is near a lake.") == near_lake
    assert world.check(f"{animal.home} is not near a lake.") != near_lake
    assert world.check(f"the {animal.name} lives near a lake.") == near_lake
    assert world.check(f"the {animal.name} does not live near a forest.") == near_lake
    assert world.check(f"the {animal.name} lives in a hot place.") == ("hot" in traits)
    assert world.check(f"the {animal.name} lives in {animal.home}.")
    assert world.check(f"the {animal.name} eats {animal.food}.")
    other = next(food for food in world.facts.values["food"] if food != animal.food)
    assert world.check(f"the {animal.name} does not eat {other} but {animal.food}.")
    assert not world.check(f"the {animal.name} eats {other}.")
    assert not world.check(f"the {animal.name} does not eat {animal.food}.")


def test_no_sentence_is_true_together_with_its_denial(world):
    for name in world.facts.animals:
        for prop in PROPERTIES:
            pair = [say.conclusion(name, prop, holds) for holds in (True, False)]
            assert sum(world.check(sentence) for sentence in pair) == 1
    for prop in PROPERTIES:
        for value in world.facts.values[prop.slot]:
            pair = [say.rule(value, prop, holds) for holds in (True, False)]
            assert sum(world.check(sentence) for sentence in pair) == 1


def test_number_of_true_sentences(world):
    rules = 6 * 7 + 8 * 6 + 6 * 2
    facts, denials = 96 * 3, 96 * (5 + 7 + 5)
    assert len(world.true_sentences) == rules + facts + 2 * denials + 96 * 15


def test_grammar(world):
    for sentence in world.true_sentences:
        assert sentence.endswith(".") and sentence == sentence.lower()
        assert " a insect" not in sentence and " a amphibian" not in sentence
        assert world.vocabulary().decode(world.vocabulary().encode(sentence)) == sentence


def test_sentences_that_are_not_of_the_language_are_not_true(world):
    name = animal_of_kind(world, "bird").name
    texts = ["", " ", ".", "the quokka is a mammal.", f"the {name} has feathers"]
    texts += [f"the {name} is a bird. ferns are plants.", f"so so the {name} is a bird."]
    texts += [f"The {name} is a bird.", f"{name} is a bird.", f"perhaps: the {name} is a bird."]
    for text in texts:
        assert not world.check(text), text


def test_explanation_is_judged_sentence_by_sentence(world):
    bird, fish = animal_of_kind(world, "bird").name, animal_of_kind(world, "fish").name
    text = f"the {bird} is a bird . every bird has fur. so the {fish} has scales. the {bird}"
    verdict = world.check_explanation(text, only_names=[bird])
    assert [v.sentence for v in verdict.sentences] == [
        f"the {bird} is a bird.",
        "every bird has fur.",
        f"so the {fish} has scales.",
        f"the {bird}",
    ]
    assert [v.true for v in verdict.sentences] == [True, False, True, False]
    assert [v.only_names for v in verdict.sentences] == [True, True, False, True]
    assert not verdict.true and not verdict.only_names
    assert world.check_explanation(text).only_names
    good = world.check_explanation(f"the {bird} is a bird. every bird has feathers.", [bird])
    assert good.true and good.only_names


def test_empty_explanation_is_not_true(world):
    verdict = world.check_explanation("")
    assert not verdict.true and not verdict.only_names


def pair_of_split(world, split):
    return next(
        (name, prop)
        for (name, family), owner in world.split_of.items()
        for prop in PROPERTIES
        if owner == split and prop.family == family
    )


@pytest.mark.parametrize("split", ["validation", "test", "base_test"])
def test_held_out_conclusions_are_found_true_or_not(world, split):
    name, prop = pair_of_split(world, split)
    for holds in (True, False):
        sentence = say.conclusion(name, prop, holds)
        assert world.states_held_out(sentence)
        assert world.states_held_out(f"so {sentence}")
        assert world.states_held_out(f"so the {name} so {sentence.removesuffix('.')}")
    assert world.states_held_out(f"both the {name} and the other {prop.plural}.")


def test_the_opposite_of_a_held_out_property_is_held_out(world):
    for (name, family), owner in world.split_of.items():
        opposites = [prop for prop in PROPERTIES if prop.family == family]
        said = {world.states_held_out(say.conclusion(name, p, True)) for p in opposites}
        assert said == {owner in ("validation", "test", "base_test")}


@pytest.mark.parametrize("split", ["student", "teacher", "base"])
def test_other_sentences_are_not_held_out(world, split):
    name, prop = pair_of_split(world, split)
    assert not world.states_held_out(say.conclusion(name, prop, True))
    animal = world.facts.animals[name]
    for slot in ("kind", "home", "food"):
        assert not world.states_held_out(say.animal_fact(animal, slot))
    assert not world.states_held_out("every bird has feathers.")
    assert not world.states_held_out("")
