import collections
import dataclasses
import re

import pytest

from teacherlm_jax.tasks.world import arms, audit, examples
from teacherlm_jax.tasks.world.world import get_world
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS, MARKERS


@pytest.fixture(scope="module")
def world():
    return get_world(0)


@pytest.fixture(scope="module")
def records(world):
    return [audit.gold_record(world, record) for record in world.records("student")]


def test_arms_and_their_fields():
    assert list(arms.ARMS) == [
        "plain",
        "fundamentals",
        "cot",
        "mistakes",
        "all",
        "gold_fundamentals",
        "scrambled_fundamentals",
    ]
    assert arms.ARMS["all"].fields == EXPLANATION_FIELDS
    assert all(arm.meaning.endswith(".") for arm in arms.ARMS.values())


@pytest.mark.parametrize("arm", arms.ARMS)
def test_rows_of_an_arm(world, records, arm):
    rows = arms.arm_rows(world, arm, records)
    assert list(rows) == ["tf", "mc", "both"]
    if arm != "scrambled_fundamentals":
        counts = collections.Counter(world.question(r.id).type for r in records)
        expected = [counts["tf"], 6 * counts["mc"], counts["both"]]
        assert [len(rows[type_]) for type_ in rows] == expected
    vocabulary = world.vocabulary()
    for type_, letters in (("tf", 2), ("mc", 3), ("both", 2)):
        for row in rows[type_][:: len(rows[type_]) // 50]:
            text = row["inputs"] + row["targets"]
            assert vocabulary.decode(vocabulary.encode(text)) == text
            assert row["inputs"].endswith(" A: The answer is (")
            assert row["inputs"].count("(") == letters + 1
            found = [field for field in EXPLANATION_FIELDS if MARKERS[field] in row["targets"]]
            assert tuple(found) == arms.ARMS[arm].fields


def test_options_come_in_all_orders_with_the_explanation_as_written(world, records):
    record = next(r for r in records if world.question(r.id).type == "mc")
    rows = arms.arm_rows(world, "fundamentals", records)["mc"]
    name = re.compile(rf"\b{record.choices[0]}\b")
    marker = MARKERS["fundamentals"]
    own = [row for row in rows if row["targets"].endswith(f"{marker} {record.fundamentals}")]
    assert len(own) == 6
    assert len({row["inputs"] for row in own}) == 6
    for row in own:
        assert name.search(row["inputs"])
        letter = row["targets"][0]
        right = record.choices["ABC".index(record.answer)]
        assert f"({letter}) {right} " in row["inputs"]


def test_teacher_arm_takes_the_records_and_gold_arm_the_world(world, records):
    foreign = [dataclasses.replace(r, fundamentals="ferns are plants.") for r in records]
    teacher = arms.arm_rows(world, "fundamentals", foreign)
    gold = arms.arm_rows(world, "gold_fundamentals", foreign)
    assert all(row["targets"].endswith(": ferns are plants.") for row in teacher["tf"])
    assert gold == arms.arm_rows(world, "fundamentals", records)


def test_record_without_the_explanation_trains_as_a_plain_one(world, records):
    bare = [dataclasses.replace(records[0], fundamentals=""), *records[1:]]
    rows = arms.arm_rows(world, "fundamentals", bare)
    plain = arms.arm_rows(world, "plain", bare)
    type_ = world.question(records[0].id).type
    assert rows[type_][0] == plain[type_][0]
    assert rows[type_][1] != plain[type_][1]


def explanation_of(row):
    return row["targets"].split(MARKERS["fundamentals"] + " ")[1]


def test_scrambled_texts_keep_their_form_and_lose_their_truth(world, records):
    rows = arms.arm_rows(world, "scrambled_fundamentals", records)
    real = arms.arm_rows(world, "fundamentals", records)
    animals = set(world.facts.animals)
    for type_ in rows:
        assert len(rows[type_]) >= arms.SCRAMBLED_ROWS
        lengths = [
            sum(len(r["targets"].split()) for r in some[type_]) / len(some[type_])
            for some in (rows, real)
        ]
        assert lengths[0] == pytest.approx(lengths[1], rel=0.03)
        verdicts = [world.check_explanation(explanation_of(row)) for row in rows[type_][:1000]]
        sentences = [sentence for verdict in verdicts for sentence in verdict.sentences]
        # One in 6 to 8 values is right by chance.
        assert 0.08 < sum(s.true for s in sentences) / len(sentences) < 0.25
        names = {
            word
            for row in rows[type_]
            for word in re.findall("[a-z]+", explanation_of(row))
            if word in animals
        }
        assert names == animals


def test_scrambled_names_are_drawn_anew_for_every_sample(world, records):
    rows = arms.arm_rows(world, "scrambled_fundamentals", records)["tf"]
    by_input = collections.defaultdict(list)
    for row in rows:
        by_input[row["inputs"]].append(explanation_of(row))
    assert min(len(texts) for texts in by_input.values()) >= 20
    for texts in by_input.values():
        assert len(set(texts)) >= len(texts) - 3  # some meet by chance
    # Nor does a fixed table of names stand behind it: a triple of facts meets many names.
    names_of = collections.defaultdict(set)
    for row in rows:
        words = explanation_of(row).split()
        names_of[words[4], words[9]].add(words[1])
    assert max(len(names) for names in names_of.values()) > 20


def test_scrambled_texts_come_from_other_questions(world, records):
    # Each question gets a home of its own, so that texts can be told apart by it.
    marked = [
        dataclasses.replace(r, fundamentals=f"the luvik lives in place{number}.")
        for number, r in enumerate(records)
    ]
    number_of = {r.question: number for number, r in enumerate(marked)}
    for rows in arms.arm_rows(world, "scrambled_fundamentals", marked).values():
        for row in rows:
            question = re.fullmatch(r"Q: (.*?[.?]) \(A\).*", row["inputs"])[1]
            if "which" not in question:  # the text of mc is not the whole question
                assert f"place{number_of[question]}." not in row["targets"]


def test_arm_texts_are_the_targets(world, records):
    texts = arms.arm_texts(world, "cot", records)
    rows = arms.arm_rows(world, "cot", records)
    assert texts == [row["targets"] for type_ in ("tf", "mc", "both") for row in rows[type_]]


def test_wrong_records_are_refused(world, records):
    with pytest.raises(ValueError, match=r"arm = 'fundamental'.*Did you mean 'fundamentals'"):
        arms.arm_rows(world, "fundamental", records)
    with pytest.raises(ValueError, match="stands twice"):
        arms.arm_rows(world, "plain", [*records, records[0]])
    with pytest.raises(ValueError, match=r"split 'test'.*'student' alone"):
        arms.arm_rows(world, "plain", [*records, world.records("test")[0]])
    with pytest.raises(KeyError, match="world 0 has no question"):
        arms.arm_rows(world, "plain", get_world(1).records("student"))
    with pytest.raises(ValueError, match="no question of type mc, both"):
        only_tf = [r for r in records if world.question(r.id).type == "tf"]
        arms.arm_rows(world, "plain", only_tf)
    with pytest.raises(ValueError, match=r"none of .* has fundamentals"):
        arms.arm_rows(world, "scrambled_fundamentals", world.records("student"))
    with pytest.raises(ValueError, match="must not change the question"):
        changed = dataclasses.replace(records[0], question="true or false?")
        arms.arm_rows(world, "plain", [changed, *records[1:]])


def sentences_of(rows):
    return [s for row in rows for s in re.findall(r"[^.]+\.", row["targets"])]


def test_corpus_has_base_facts_and_rules_alone(world):
    rows = examples.corpus_rows(world)
    sentences = [sentence.strip() for sentence in sentences_of(rows)]
    assert all(world.check(sentence) for sentence in sentences)
    assert not any(re.match("the .* (has|have|lays|lay) ", sentence) for sentence in sentences)
    assert len(set(sentences)) == 48 * 3 + 6 * 7 + 8 * 6 + 6 * 2
    known = set(world.names.known)
    assert not any(known & set(re.findall("[a-z]+", sentence)) for sentence in sentences)
    assert all(row["inputs"] == "" for row in rows)
    beliefs = world.believed_base_facts(row["targets"] for row in rows)
    assert len(beliefs) == 48 * 3


def test_base_text_gives_away_nothing_held_out(world):
    sentences = [sentence.strip() for sentence in sentences_of(examples.base_text_rows(world))]
    assert all(world.check(sentence) for sentence in sentences)
    assert not any(world.states_held_out(sentence) for sentence in sentences)
    conclusions = {s for s in sentences if re.match(r"the \w+ (has|does not have) ", s)}
    assert len(conclusions) > 150


def test_running_text_fits_its_rows(world):
    vocabulary = world.vocabulary()
    for rows in (examples.corpus_rows(world), examples.base_text_rows(world)):
        lengths = [len(vocabulary.encode(row["targets"])) + 1 for row in rows]
        assert max(lengths) <= examples.MAX_TEXT_TOKENS
        assert sum(lengths) / len(lengths) > 30


def test_training_rows_state_nothing_held_out(world, records):
    for arm in ("all", "gold_fundamentals"):
        for text in set(arms.arm_texts(world, arm, records)):
            assert not world.states_held_out(text)
    for split in ("base", "teacher"):
        for field in EXPLANATION_FIELDS:
            questions = world.questions(split)[::5]
            for row in examples.gold_rows(world, questions, field, every_order=False):
                assert not world.states_held_out(row["targets"])
