"""What an experiment needs to know of its data: questions, arms, truth."""

from collections.abc import Sequence
from typing import Any, Protocol

from teacherlm_jax.data.records import TeacherDataRecord


class Subject(Protocol):
    """A data set on which students are compared; the embedded world is one.

    Attributes:
      name: for folders and reports.
      seed: tells worlds apart in the results; 0 where there is one.
      chance: accuracy of guessing, in percent.
      questions_task: seqio task whose records the teacher annotates.
      evaluation: mixture of rank-classification tasks, splits "validation" and "test".
      base_evaluation: mixture that shows what the base model learned, split "test".
    """

    name: str
    seed: int
    chance: float
    questions_task: str
    evaluation: str
    base_evaluation: str

    def register_arm(self, arm: str, records: Sequence[TeacherDataRecord]) -> str:
        """Registers what students of an arm train on; returns the mixture's name."""

    def meaning(self, arm: str) -> str:
        """What an arm is, in one sentence."""

    def clean(
        self, records: Sequence[TeacherDataRecord]
    ) -> tuple[list[TeacherDataRecord], dict[str, int]]:
        """Records without what gives away the evaluation, and how much was dropped a field."""

    def quality(self, records: Sequence[TeacherDataRecord]) -> dict[str, dict[str, float]]:
        """Quality of the annotations as the teacher wrote them, in percent: "truth_rate", ..."""

    def coverage(
        self, records: Sequence[TeacherDataRecord], arms: Sequence[str]
    ) -> dict[str, float]:
        """Share of the test questions whose facts stand in an arm's texts, in percent."""

    def samples(self, records: Sequence[TeacherDataRecord], count: int) -> list[dict[str, Any]]:
        """Questions with the teacher's explanations beside the truth."""
