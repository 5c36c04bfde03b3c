"""A world as the subject of an experiment (`students.subject.Subject`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.tasks.world import arms as arms_lib
from teacherlm_jax.tasks.world import audit
from teacherlm_jax.tasks.world.questions import QUESTION_TYPES
from teacherlm_jax.tasks.world.registry import register_arm, register_world
from teacherlm_jax.teacher.prompts import EXPLANATION_FIELDS

# Of guessing: true or false, one of three, yes or no.
CHANCE = (50.0 + 100.0 / 3 + 50.0) / 3


class WorldStudy:
    """The embedded world with one seed."""

    def __init__(self, seed: int) -> None:
        """Registers the world's tasks.

        Args:
          seed: the world's seed, 0 or more.
        """
        self._world = register_world(seed)
        self.name = f"world{seed}"
        self.seed = seed
        self.chance = CHANCE
        self.questions_task = f"world{seed}_questions"
        self.evaluation = f"world{seed}_eval"
        self.base_evaluation = f"world{seed}_base_eval"

    def register_arm(self, arm: str, records: Sequence[TeacherDataRecord]) -> str:
        """Registers what students of an arm train on; returns the mixture's name."""
        return register_arm(self._world.seed, arm, records, "study")

    def meaning(self, arm: str) -> str:
        """What an arm is, in one sentence."""
        return arms_lib.get_arm(arm).meaning

    def clean(
        self, records: Sequence[TeacherDataRecord]
    ) -> tuple[list[TeacherDataRecord], dict[str, int]]:
        """Takes out sentences that state what validation or test asks, and counts them.

        Raises:
            ValueError: a record is of another world.
        """
        for record in records:
            try:
                self._world.question(record.id)
            except KeyError as error:
                raise ValueError(error.args[0]) from None
        return audit.drop_held_out(self._world, records)

    def quality(self, records: Sequence[TeacherDataRecord]) -> dict[str, dict[str, float]]:
        """Truth of the explanations as the teacher wrote them, in percent a field."""
        return {
            "truth_rate": audit.truth_rates(self._world, records),
            "only_question_names": audit.only_question_names(self._world, records),
        }

    def coverage(
        self, records: Sequence[TeacherDataRecord], arms: Sequence[str]
    ) -> dict[str, float]:
        """Share of the test questions whose facts stand in an arm's texts, in percent."""
        texts = {arm: arms_lib.arm_texts(self._world, arm, records) for arm in arms}
        return audit.coverage(self._world, texts)

    def samples(self, records: Sequence[TeacherDataRecord], count: int) -> list[dict[str, Any]]:
        """The first questions of each type, with the teacher's explanations beside the gold."""
        chosen = []
        for type_ in QUESTION_TYPES:
            of_type = [r for r in records if self._world.question(r.id).type == type_]
            chosen += [(type_, record) for record in of_type[: -(-count // len(QUESTION_TYPES))]]
        return [self._sample(type_, record) for type_, record in chosen[:count]]

    def _sample(self, type_: str, record: TeacherDataRecord) -> dict[str, Any]:
        question = self._world.question(record.id)
        explanations = {}
        for field in EXPLANATION_FIELDS:
            text = getattr(record, field)
            verdict = self._world.check_explanation(text, question.animals)
            gold = self._world.gold(question, field)
            explanations[field] = {"teacher": text, "gold": gold, "true": verdict.true}
        return {
            "question": record.question,
            "choices": list(record.choices),
            "answer": record.answer,
            "type": type_,
            "explanations": explanations,
        }
