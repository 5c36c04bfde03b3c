"""The embedded world: animals that nobody has heard of, and all that is true of them."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Collection, Iterable, Mapping

from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.data.vocabularies import WordVocabulary, split_words
from teacherlm_jax.tasks.world import checker, explanations
from teacherlm_jax.tasks.world import sentences as say
from teacherlm_jax.tasks.world.facts import FOODS, KINDS, PROPERTIES, Facts, make_facts
from teacherlm_jax.tasks.world.names import Names, make_names
from teacherlm_jax.tasks.world.questions import Question, make_questions
from teacherlm_jax.tasks.world.splits import HELD_OUT_SPLITS, SPLITS, make_splits
from teacherlm_jax.teacher.prompts import MARKERS, evaluation_prompt

# Texts that hold every word of questions and explanations other than names, foods and kinds.
_PHRASES = (
    *MARKERS.values(),
    evaluation_prompt("", ["true", "false"]) + ").",
    evaluation_prompt("", ["yes", "no", ""]),
    "would it be right to say that both the and the?",
    "true or false: which animal so beware: does not but in",
    "a an is are not every no lives in eats eat live",
)


@dataclasses.dataclass(frozen=True)
class World:
    """A world is its seed: everything else follows from it, the same on every machine.

    48 animals are known: models learn to answer about them first. 48 are rare: nobody has answered
    questions about them, so students show what explanations teach.

    Attributes:
        seed: any integer from 0 on.

    Raises:
        ValueError: the seed is negative or no integer.
    """

    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(
                f"seed = {self.seed!r}, but the seed of a world must be an integer, 0 or more."
            )

    @functools.cached_property
    def names(self) -> Names:
        """The names of animals and places."""
        return make_names(self.seed)

    @functools.cached_property
    def facts(self) -> Facts:
        """What is so: base facts and traits."""
        return make_facts(self.seed, self.names)

    @functools.cached_property
    def split_of(self) -> Mapping[tuple[str, str], str]:
        """(animal, family of properties) to the only split that asks for it."""
        return make_splits(self.seed, self.names, self.facts)

    def questions(self, split: str) -> tuple[Question, ...]:
        """Returns the questions of a split: all tf, then all mc, then all both.

        Args:
            split: "base" and "base_test" are about known animals; "student", "teacher",
                "validation" and "test" about rare ones.
        """
        if split not in self._questions:
            self._questions[split] = make_questions(self.seed, self.facts, self.split_of, split)
        return self._questions[split]

    def question(self, question_id: str) -> Question:
        """Returns the question with this id.

        Raises:
            KeyError: this world has no such question.
        """
        if question_id not in self._question_of_id:
            raise KeyError(
                f"world {self.seed} has no question with id {question_id!r}: records must come from"
                " the task of questions of this very world."
            )
        return self._question_of_id[question_id]

    def records(self, split: str) -> list[TeacherDataRecord]:
        """Returns the questions of a split as records without explanations."""
        return [q.record(f"world{self.seed}_questions") for q in self.questions(split)]

    def gold(self, question: Question, field: str) -> str:
        """Returns the gold explanation of a question; every sentence is true.

        Args:
            question: of mc the sentences follow the order of its options.
            field: one of `prompts.EXPLANATION_FIELDS`.
        """
        return explanations.gold_explanation(self.seed, self.facts, question, field)

    def vocabulary(self) -> WordVocabulary:
        """Returns the vocabulary of all texts of this world; its size is that of every world."""
        return self._vocabulary

    @functools.cached_property
    def true_sentences(self) -> frozenset[str]:
        """All true sentences, without "so" or "beware:" before them."""
        return checker.enumerate_true_sentences(self.facts)

    def check(self, sentence: str) -> bool:
        """Returns whether a sentence is true; one that is not of this world's language is not."""
        found = say.split_sentences(sentence)
        return len(found) == 1 and say.statement(found[0]) in self.true_sentences

    def check_explanation(
        self, text: str, only_names: Collection[str] | None = None
    ) -> checker.ExplanationVerdict:
        """Takes an explanation apart and says of each sentence whether it is true.

        Args:
            text: the explanation; a sentence that breaks off is not true.
            only_names: the animals that may be named; None permits all.
        """
        permitted = self.facts.animals if only_names is None else only_names
        verdicts = []
        for sentence in say.split_sentences(text):
            named = checker.mentioned_animals(sentence, self.facts.animals)
            true = say.statement(sentence) in self.true_sentences
            permitted_alone = all(name in permitted for name in named)
            verdicts.append(checker.SentenceVerdict(sentence, true, permitted_alone))
        return checker.ExplanationVerdict(tuple(verdicts))

    def states_held_out(self, sentence: str) -> bool:
        """Returns whether a sentence gives away what evaluation asks, true or not.

        That is: it names an animal and says or denies a property of a family that this animal is
        asked for in the splits "validation", "test" or "base_test".
        """
        properties = checker.mentioned_properties(sentence)
        names = checker.mentioned_animals(sentence, self.facts.animals) if properties else []
        return any(
            self.split_of[name, prop.family] in HELD_OUT_SPLITS
            for name in names
            for prop in properties
        )

    def believed_base_facts(self, texts: Iterable[str]) -> dict[tuple[str, str], str]:
        """Returns what somebody would believe who reads the texts: (animal, slot) to value.

        That is the value stated most often; where several are, there is no belief.
        """
        counts: dict[tuple[str, str], collections.Counter[str]] = {}
        for text in texts:
            for name, slot, value in checker.stated_base_facts(text, self._base_statements):
                counts.setdefault((name, slot), collections.Counter())[value] += 1
        beliefs = {}
        for key, values in counts.items():
            (value, most), *others = values.most_common(2)
            if not others or others[0][1] < most:
                beliefs[key] = value
        return beliefs

    @functools.cached_property
    def _base_statements(self) -> Mapping[str, tuple[str, str, str]]:
        return checker.enumerate_base_statements(self.facts)

    @functools.cached_property
    def _questions(self) -> dict[str, tuple[Question, ...]]:
        return {}

    @functools.cached_property
    def _question_of_id(self) -> Mapping[str, Question]:
        questions = [question for split in SPLITS for question in self.questions(split)]
        found = {question.id: question for question in questions}
        if len(found) != len(questions):
            raise ValueError(
                f"world {self.seed} has {len(questions)} questions but only {len(found)} ids: a"
                " question stands in it twice."
            )
        return found

    @functools.cached_property
    def _vocabulary(self) -> WordVocabulary:
        phrases = [*_PHRASES, *KINDS, *FOODS]
        for prop in PROPERTIES:
            phrases += [prop.singular, prop.plural, prop.predicate]
        words = sorted({word for phrase in phrases for word in split_words(phrase)})
        return WordVocabulary([*words, *self.names.places, *self.names.animals])


@functools.lru_cache(maxsize=8)
def get_world(seed: int) -> World:
    """Returns the world with this seed, the same object whenever it is asked for."""
    return World(seed)
