import collections
import hashlib
import itertools

import pytest

from teacherlm_jax.tasks.world.draws import evenly, generator
from teacherlm_jax.tasks.world.facts import FAMILIES, FOODS, KINDS, PROPERTIES, SLOTS
from teacherlm_jax.tasks.world.names import make_names
from teacherlm_jax.tasks.world.world import World, get_world

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_names_are_distinct_tokens(seed):
    names = make_names(seed)
    assert (len(names.known), len(names.rare), len(names.places)) == (48, 48, 8)
    everything = [*names.animals, *names.places]
    assert len(set(everything)) == 48 + 48 + 8
    assert all(name.isascii() and name.isalpha() and name.islower() for name in everything)
    others = set(get_world(seed).vocabulary().words) - set(everything)
    assert len(others) == len(get_world(seed).vocabulary().words) - len(everything)


def test_worlds_differ_and_repeat():
    assert make_names(0) == make_names(0)
    assert make_names(0) != make_names(1)
    assert World(3).facts == World(3).facts
    assert World(3) == World(3) != World(4)
    assert get_world(3) is get_world(3)


def test_nothing_depends_on_the_order_of_use():
    late = World(0)
    late.questions("test")
    assert late.gold(late.questions("student")[7], "common_mistakes") == World(0).gold(
        World(0).questions("student")[7], "common_mistakes"
    )


def test_world_zero_is_the_same_on_every_machine():
    # Models, annotations and reports of other machines speak of this very world.
    world = World(0)
    lines = [repr(world.names), *map(repr, world.facts.animals.values())]
    lines += [repr(sorted(traits)) for traits in world.facts.traits.values()]
    for split in ("base", "base_test", "student", "teacher", "validation", "test"):
        for question in world.questions(split):
            lines += [question.id, world.gold(question, "common_mistakes")]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == "d7a8b5764e5bc312"


def test_shape_of_the_world():
    assert (len(KINDS), len(FOODS), len(PROPERTIES), len(FAMILIES)) == (6, 6, 15, 11)
    assert len(set(KINDS.values())) == 5  # fish and reptile share their traits
    facts = get_world(0).facts
    assert len({facts.traits[place] for place in facts.values["home"]}) == 8
    keys = {prop.key for prop in PROPERTIES}
    assert keys == set().union(*facts.traits.values())


def test_opposites_share_a_family_and_exclude_each_other():
    facts = get_world(0).facts
    by_family = itertools.groupby(PROPERTIES, key=lambda prop: prop.family)
    pairs = [pair for _, group in by_family if len(pair := list(group)) == 2]
    assert len(pairs) == 4
    for name in facts.animals:
        for one, other in pairs:
            assert facts.animal_has(name, one) != facts.animal_has(name, other)


@pytest.mark.parametrize("seed", SEEDS)
def test_base_facts_are_spread_evenly_over_known_and_rare(seed):
    world = get_world(seed)
    for group in (world.names.known, world.names.rare):
        for slot in SLOTS:
            counts = collections.Counter(world.facts.animals[n].value(slot) for n in group)
            assert set(counts) == set(world.facts.values[slot])
            assert max(counts.values()) == min(counts.values())


@pytest.mark.parametrize("seed", [-1, 1.0, "0", True, None])
def test_wrong_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=r"seed = .*integer, 0 or more"):
        World(seed)


def test_draws_are_pcg64_by_purpose():
    assert generator(0, "a").integers(1 << 30) == generator(0, "a").integers(1 << 30)
    assert generator(0, "a").integers(1 << 30) != generator(0, "b").integers(1 << 30)
    assert generator(0, "a").integers(1 << 30) != generator(1, "a").integers(1 << 30)
    assert type(generator(0, "a").bit_generator).__name__ == "PCG64"
    counts = collections.Counter(evenly(generator(0, "a"), "abc", 11))
    assert sorted(counts.values()) == [3, 4, 4]
