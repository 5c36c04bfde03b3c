"""The questions of a task as it is evaluated: texts and tokens, with what is right."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from teacherlm_jax.data import vocabularies
from teacherlm_jax.scoring import boundary
from teacherlm_jax.scoring.scores import OptionRow, Question, ScoringPolicy, group_rows


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question of a task.

    Attributes:
      question: as the scorer takes it.
      id: the data set's own, or the question's number.
      subject: of the question; "": none.
      prompt: its text.
      continuations: the text of each option as it follows the prompt.
      answer: number of the right option; None: the task does not say.
      moved: see `boundary.Cut`.
    """

    question: Question
    id: str
    subject: str
    prompt: str
    continuations: tuple[str, ...]
    answer: int | None
    moved: int = 0


@dataclasses.dataclass(frozen=True)
class AskedTask:
    """All questions of a split of a task.

    Attributes:
      questions: in order of first appearance.
      indices: the evaluator's index of each row.
      places: (question, option) numbers of each row.
    """

    questions: list[Asked]
    indices: list[int]
    places: list[tuple[int, int]]


def prompt_and_option(features: Mapping[str, np.ndarray]) -> tuple[list[int], list[int]]:
    """The tokens of a row that carry no loss and come first, and those after them."""
    used = int(np.sum(features["decoder_segment_ids"] > 0))
    tokens = features["decoder_target_tokens"][:used].tolist()
    carries_loss = features["decoder_loss_weights"][:used] > 0
    first = int(np.argmax(carries_loss)) if carries_loss.any() else used
    return tokens[:first], tokens[first:]


def option_rows(dataset: tf.data.Dataset) -> tuple[list[int], list[OptionRow]]:
    """Rows of an enumerated dataset of decoder features, as an evaluator hands it out.

    The prompt is what carries no loss, the option what does. Rows with the same prompt belong to
    one question and share its forward pass.

    Returns:
      The index of each row, and the rows.
    """
    indices, rows = [], []
    for index, features in tfds.as_numpy(dataset):
        before, option = prompt_and_option(features)
        if not option:
            raise ValueError(
                f"row {index} of the evaluation has no target tokens, so there is no option to "
                "score: give each row an option in `targets`."
            )
        prompt = tuple(before)
        indices.append(int(index))
        rows.append(OptionRow(prompt, prompt, option))
    return indices, rows


def read_task(
    task: seqio.Task,
    split: str,
    task_rows: tf.data.Dataset,
    model_rows: tf.data.Dataset,
    policy: ScoringPolicy,
) -> AskedTask:
    """The questions of a task that an evaluator has cached.

    Args:
      task: the task.
      split: of the task.
      task_rows: as the task makes them.
      model_rows: as the evaluator hands them to a score function.
      policy: where its boundary is "apart", tokens are those of the rows, as any other evaluator
        has them; "joint": the rows' texts are tokenized anew; see `boundary`.

    Raises:
      ValueError: a row has no option, rows of a question differ in their prompts, two questions
        have one id, or the rule needs texts that the task has not kept.
    """
    indices, rows = option_rows(model_rows)
    features = list(tfds.as_numpy(task_rows))
    if "idx" in task_rows.element_spec:
        rows = [
            dataclasses.replace(row, question_id=_number(task, features[index]["idx"]))
            for index, row in zip(indices, rows, strict=True)
        ]
    questions, places = group_rows(rows)
    of_question: list[list[Mapping[str, Any]]] = [[] for _ in questions]
    for index, (number, _) in zip(indices, places, strict=True):
        of_question[number].append(features[index])
    asked = [
        _asked(task, f"{task.name}/{split}", number, question, own)
        for number, (question, own) in enumerate(zip(questions, of_question))
    ]
    _check_ids(f"{task.name}/{split}", asked)
    if policy.boundary == "joint":
        asked = _cut_anew(task, asked)
        vocabulary = task.output_features["targets"].vocabulary
        if policy.unconditional_prompt in ((), (vocabulary.bos_id,), (vocabulary.eos_id,)):
            asked = _with_options_alone(vocabulary, asked)
    return AskedTask(asked, indices, places)


def _asked(
    task: seqio.Task, where: str, number: int, question: Question, rows: Sequence[Mapping[str, Any]]
) -> Asked:
    """A question from its rows, which stand in the order of its options."""
    vocabulary = task.output_features["targets"].vocabulary
    first = rows[0]

    def text(row: Mapping[str, Any], feature: str, tokens: Sequence[int]) -> str:
        kept = row.get(f"{feature}_pretokenized")
        return vocabulary.decode(list(tokens)) if kept is None else kept.decode("utf-8")

    continuations = tuple(
        text(row, "targets", option) for row, option in zip(rows, question.options, strict=True)
    )
    right = [n for n, row in enumerate(rows) if row.get("is_correct", False)]
    choices = first.get("choices")
    texts = tuple(each.strip() for each in continuations)
    if choices is not None and len(choices) == len(texts) and not _are_letters(texts):
        texts = tuple(choice.decode("utf-8") for choice in choices)
    identity = _told(first["id"]) if "id" in first else str(number)
    return Asked(
        dataclasses.replace(question, question_id=f"{where}:{identity}", option_texts=texts),
        identity,
        _told(first["subject"]) if "subject" in first else "",
        text(first, "inputs", question.prompt_tokens),
        continuations,
        right[0] if len(right) == 1 else None,
    )


def _number(task: seqio.Task, idx: np.ndarray) -> int:
    """The number of a row's question."""
    found = np.asarray(idx)
    if found.shape != (2,) or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(
            f"task {task.name}: idx of a row is {found.tolist()!r:.80}, but it must be two whole"
            " numbers, those of question and option, both from 0."
        )
    return int(found[0])


def _told(value: Any) -> str:
    """A text or a number as text."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _are_letters(texts: Sequence[str]) -> bool:
    return all(text == chr(ord("A") + number) for number, text in enumerate(texts))


def _check_ids(where: str, asked: Sequence[Asked]) -> None:
    """Receipts, clean subsets and comparisons know a question by its id."""
    seen: dict[str, int] = {}
    for number, question in enumerate(asked):
        if question.id in seen:
            raise ValueError(
                f"{where}: questions {seen[question.id]} and {number} both have the id "
                f"{question.id!r}; ids must be unique in a split: remove one of them."
            )
        seen[question.id] = number


def _cut_anew(task: seqio.Task, asked: Sequence[Asked]) -> list[Asked]:
    """The same questions, tokenized by the rule "joint"."""
    vocabulary = task.output_features["targets"].vocabulary
    encode_many = functools.partial(vocabularies.encode_many, vocabulary)
    texts = [
        boundary.TextQuestion(one.prompt, one.continuations, str(one.question.question_id))
        for one in asked
    ]
    return [
        dataclasses.replace(
            one,
            question=dataclasses.replace(
                one.question, prompt_tokens=cut.prompt, options=cut.options
            ),
            moved=cut.moved,
        )
        for one, cut in zip(asked, boundary.cut_many(encode_many, texts, "joint"), strict=True)
    ]


def _with_options_alone(vocabulary: seqio.Vocabulary, asked: Sequence[Asked]) -> list[Asked]:
    """The same questions, with each option as a text that nothing stands before.

    As lm-evaluation-harness encodes it: some tokenizers put a space before every text.
    """
    texts = list(dict.fromkeys(text for one in asked for text in one.continuations))
    tokens = dict(zip(texts, vocabularies.encode_many(vocabulary, texts), strict=True))

    def alone(one: Asked) -> Question:
        pairs = zip(one.continuations, one.question.options, strict=True)
        return dataclasses.replace(
            one.question, options_alone=[tokens[text] or option for text, option in pairs]
        )

    return [dataclasses.replace(one, question=alone(one)) for one in asked]
