import dataclasses

import pytest

from teacherlm_jax.tasks.world import audit
from teacherlm_jax.tasks.world import sentences as say
from teacherlm_jax.tasks.world.facts import KINDS
from teacherlm_jax.tasks.world.splits import SPLITS
from teacherlm_jax.tasks.world.world import get_world
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS


@pytest.fixture(scope="module")
def world():
    return get_world(0)


def first(world, split, type_, slot=None, label=None):
    return next(
        q
        for q in world.questions(split)
        if q.type == type_ and slot in (None, q.prop.slot) and (label is None or q.label == label)
    )


@pytest.mark.parametrize("seed", range(5))
def test_every_gold_sentence_is_true(seed):
    # Also: names the question's animals alone, and gives away nothing held out.
    assert audit.check_gold(get_world(seed)) > 70_000


def test_a_false_variation_of_each_kind_of_sentence_is_rejected(world):
    denials = [(" is ", " is not "), (" are ", " are not "), ("every ", "no "), ("no ", "every ")]
    denials += [(" does not have ", " has "), (" does not eat ", " eats ")]
    denials += [(" does not live ", " lives "), (" does not lay ", " lays ")]
    denials += [(" has ", " does not have "), (" eats ", " does not eat ")]
    denials += [(" lives ", " does not live "), (" lays ", " does not lay ")]
    rejected = 0
    for question in world.questions("student"):
        for field in EXPLANATION_FIELDS:
            for sentence in say.split_sentences(world.gold(question, field)):
                assert world.check(sentence)
                for old, new in denials:
                    if old in sentence and " not " not in sentence:
                        assert not world.check(sentence.replace(old, new, 1)), sentence
                        rejected += 1
    assert rejected > 1000


def test_check_gold_can_fail(world):
    class Wrong(type(world)):
        def gold(self, question, field):
            return super().gold(question, field).replace(" bird", " fish")

    with pytest.raises(ValueError, match=r"gold explanation .* must be true"):
        audit.check_gold(Wrong(0), ["validation"])


@pytest.mark.parametrize(("split", "held_out"), [("teacher", False), ("test", True)])
def test_only_held_out_splits_have_gold_that_states_what_they_ask(world, split, held_out):
    said = any(
        world.states_held_out(sentence)
        for question in world.questions(split)
        for field in EXPLANATION_FIELDS
        for sentence in say.split_sentences(world.gold(question, field))
    )
    assert said == held_out


def test_fundamentals(world):
    question = first(world, "student", "tf")
    (name,) = question.animals
    animal = world.facts.animals[name]
    article = "an" if animal.kind[0] in "aeiou" else "a"
    assert world.gold(question, "fundamentals") == (
        f"the {name} is {article} {animal.kind}. the {name} lives in {animal.home}."
        f" the {name} eats {animal.food}."
    )
    question = first(world, "student", "mc", "food")
    assert world.gold(question, "fundamentals") == " ".join(
        f"the {name} eats {world.facts.animals[name].food}." for name in question.animals
    )
    question = first(world, "student", "both", "home")
    sentences = say.split_sentences(world.gold(question, "fundamentals"))
    assert [s.split()[1] for s in sentences] == [n for n in question.animals for _ in "12"]
    for name, sentence in zip(question.animals, sentences[::2]):
        assert sentence == f"the {name} lives in {world.facts.animals[name].home}."
    assert not any("lives" in sentence for sentence in sentences[1::2])


def test_chain_of_thought(world):
    question = first(world, "student", "mc", "kind")
    right = question.choices["ABC".index(question.answer)]
    kind, has = world.facts.animals[right].kind, question.prop.singular
    assert world.gold(question, "chain_of_thought") == (
        f"the {right} is {say.with_article(kind)}. every {kind} {has}. so the {right} {has}."
    )
    question = first(world, "student", "tf", "home", label=False)
    (name,) = question.animals
    home = world.facts.animals[name].home
    assert world.gold(question, "chain_of_thought") == (
        f"the {name} lives in {home}. {home} is not {question.prop.predicate}."
        f" so the {name} does not {question.prop.plural}."
    )
    yes = first(world, "student", "both", label=True)
    no = first(world, "student", "both", label=False)
    assert len(say.split_sentences(world.gold(yes, "chain_of_thought"))) == 6
    assert len(say.split_sentences(world.gold(no, "chain_of_thought"))) == 3


def test_common_mistakes_would_lead_to_the_other_answer(world):
    question = first(world, "student", "tf", "kind", label=True)
    text = world.gold(question, "common_mistakes")
    (name,) = question.animals
    kind = world.facts.animals[name].kind
    wrong = text.split()[6]
    assert wrong in KINDS and question.prop.key not in KINDS[wrong]
    assert text == (
        f"beware: the {name} is not {say.with_article(wrong)} but {say.with_article(kind)}."
        f" no {wrong} {question.prop.singular}."
    )
    mc = first(world, "student", "mc")
    right = mc.choices["ABC".index(mc.answer)]
    sentences = say.split_sentences(world.gold(mc, "common_mistakes"))
    assert len(sentences) == 2 and not any(right in sentence for sentence in sentences)
    both = first(world, "student", "both")
    assert len(say.split_sentences(world.gold(both, "common_mistakes"))) == 2


def test_other_orders_of_options_have_the_same_sentences_in_their_order(world):
    question = first(world, "teacher", "mc")
    for field in EXPLANATION_FIELDS:
        texts = [world.gold(order, field) for order in question.orders()]
        without = [text.removeprefix("beware: ") for text in texts]
        assert len({frozenset(say.split_sentences(text)) for text in without}) == 1
    for order in question.orders():
        named = [s.split()[1] for s in say.split_sentences(world.gold(order, "fundamentals"))]
        assert tuple(named) == order.choices


def test_unknown_field_is_refused(world):
    with pytest.raises(ValueError, match=r"field = 'cot'.*chain_of_thought"):
        world.gold(world.questions("student")[0], "cot")


def test_texts_of_all_splits_are_in_the_vocabulary_and_canonical(world):
    vocabulary = world.vocabulary()
    for split in SPLITS:
        for question in world.questions(split)[::7]:
            texts = [question.text, *(world.gold(question, f) for f in EXPLANATION_FIELDS)]
            for text in texts:
                ids = vocabulary.encode(text)
                assert vocabulary.unk_id not in ids
                assert vocabulary.decode(ids) == text


def test_vocabulary_has_the_same_size_in_every_world():
    sizes = {get_world(seed).vocabulary().vocab_size for seed in range(5)}
    assert sizes == {194}
    assert get_world(0).vocabulary() == dataclasses.replace(get_world(0)).vocabulary()
