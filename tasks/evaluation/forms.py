"""The two forms of a question, and the seqio task that ranks its options in one of them.

    letters   Q: {question} (A) {a} (B) {b} A: The answer is (     then   A
    options   Q: {question} A: The answer is                       then   " {a}"

Letters are the paper's form. In the other, options are not listed in the prompt: the model says how
likely each is as an answer (the cloze form). Prompt and option are tokenized apart in both; the
space before an option's text is the option's, as byte-pair vocabularies have it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import seqio

from teacherlm_jax.data import data_setup
from teacherlm_jax.data.row_rendering import RawRow, RowError, raw_row, rendered
from teacherlm_jax.scoring.boundary import BEFORE
from teacherlm_jax.scoring.metrics import index_and_correctness, rank_classification
from teacherlm_jax.tasks import text_tasks
from teacherlm_jax.tasks.evaluation.questions import EvaluationSet, Question
from teacherlm_jax.teacher.prompts import evaluation_prompt, option_letters

Rows = tuple[str, list[str]]
"""A prompt, and what may follow it."""


def letters(prefix: str, question: Question) -> Rows:
    """The paper's form."""
    prompt = evaluation_prompt(question.question, question.choices)
    return prefix + prompt, option_letters(len(question.choices))


def options(prefix: str, question: Question) -> Rows:
    """The form of full option texts."""
    prompt = f"{prefix}Q: {question.question} A: The answer is"
    return prompt, [f" {choice}" for choice in question.choices]


# Texts cross into TensorFlow as one: rows of scalars are rendered many at once.
_BETWEEN = "\x1f"

FORMS: Mapping[str, Callable[[str, Question], Rows]] = {"letters": letters, "options": options}


class Asks(Protocol):
    """A set of questions, as `EvaluationSet` is one."""

    @property
    def prefix(self) -> str:
        """Stands before every prompt."""

    @property
    def subject(self) -> str:
        """Of all questions; "" where there is none, or each has its own."""

    def questions(self, row: RawRow) -> list[Question]:
        """Those of a row."""


Examples = Callable[[Question], str]
"""What stands between a set's prefix and a question: solved examples, none of which is this one."""


@dataclasses.dataclass(frozen=True)
class Added:
    """What a task was made of by `add`."""

    form: str
    asked: Asks
    examples: Examples | None


ADDED: dict[str, Added] = {}
"""By the task's name."""


def questions_of(task: str, split: str) -> Iterator[Question]:
    """The questions of a split of a task, once each and without tokens.

    Args:
      task: one that `add` has made.
      split: of its source.

    Raises:
      RowError: a row is malformed, and that is an error.
    """
    source = seqio.TaskRegistry.get(task).source
    for element in source.get_dataset(split, shuffle=False).as_numpy_iterator():
        try:
            found = ADDED[task].asked.questions(raw_row(element))
        except RowError as error:
            # As the task itself does, which counts and keeps them.
            if data_setup.skips_malformed_rows():
                continue
            raise RowError(f"{element['where'].decode()}: {error}") from None
        yield from found


def answered(form: str, question: Question) -> str:
    """A question with its right answer, as an example before others."""
    prompt, targets = FORMS[form]("", question)
    right = targets[option_letters(len(targets)).index(question.answer)]
    return f"{prompt}{right})." if form == "letters" else f"{prompt}{right}"


def option_rows(
    task: str, form: str, asked: Asks, row: RawRow, examples: Examples | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a row's questions, one for each option, but for their `idx`."""
    for question in asked.questions(row):
        shown = "" if examples is None else examples(question)
        prompt, targets = FORMS[form](asked.prefix + shown, question)
        of_answer = option_letters(len(targets)).index(question.answer)
        for number, target in enumerate(targets):
            yield {
                "id": question.id,
                "task": task,
                "subject": asked.subject or question.fields.get("subject", ""),
                "question": question.question,
                "choices": _BETWEEN.join(c.replace(_BETWEEN, " ") for c in question.choices),
                "answer": question.answer,
                "option": number,
                "is_correct": number == of_answer,
                "inputs": prompt,
                "targets": target,
            }


def add_task(asked: EvaluationSet, form: str) -> seqio.Task:
    """Registers NAME_FORM of a set of the catalogue."""
    return add(f"{asked.name}_{form}", form, source_of(asked), asked)


def source_of(asked: EvaluationSet) -> seqio.DataSource:
    """The rows of a set of the catalogue."""
    return text_tasks.source(asked.definition, splits=asked.seqio_splits, keep=asked.may_have)


def add(
    name: str,
    form: str,
    source: seqio.DataSource,
    asked: Asks,
    examples: Examples | None = None,
) -> seqio.Task:
    """Registers a task.

    Its rows, one for each question and option, have the features inputs, targets, idx (numbers of
    question and option), is_correct, id, task, subject, question, choices and answer.

    Args:
      name: of the task.
      form: a key of `FORMS`.
      source: gives rows as `row_rendering` says.
      asked: makes questions of them.
      examples: stand before each question; None: none do.
    """
    import tensorflow as tf

    text = tf.TensorSpec((), tf.string)
    texts = ("id", "task", "subject", "question", "choices", "answer", "inputs", "targets")
    signature = {
        **dict.fromkeys(texts, text),
        "option": tf.TensorSpec((), tf.int32),
        "is_correct": tf.TensorSpec((), tf.bool),
    }
    task = seqio.TaskRegistry.add(
        name,
        source=source,
        output_features=text_tasks.features(add_eos=False),
        preprocessors=[
            rendered(lambda row: option_rows(name, form, asked, row, examples), signature, name),
            _finished,
            seqio.preprocessors.tokenize,
            _options_as_continuations,
        ],
        postprocess_fn=index_and_correctness,
        metric_fns=[rank_classification],
    )
    ADDED[name] = Added(form, asked, examples)
    return task


def _finished(dataset: Any) -> Any:
    """Gives rows their `idx`, questions from 0 on without gaps, and their choices apart."""
    import tensorflow as tf

    def number(last: Any, row: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        question = last + tf.cast(row["option"] == 0, tf.int32)
        others = {name: values for name, values in row.items() if name != "option"}
        choices = tf.strings.split(row["choices"], _BETWEEN)
        idx = tf.stack([question, row["option"]])
        return question, {**others, "choices": choices, "idx": idx}

    return dataset.scan(tf.constant(-1, tf.int32), number)


def _options_as_continuations(dataset: Any, output_features: Mapping[str, Any]) -> Any:
    """Options as they follow a text, where a tokenizer marks the beginning of every text.

    Llama's puts a space before: "A" alone becomes "▁A", which is not what follows "(". The same is
    done by `scoring.boundary`, "apart".
    """
    import tensorflow as tf

    vocabulary = output_features["targets"].vocabulary

    def follow(row: dict[str, Any]) -> dict[str, Any]:
        before = tf.cast(vocabulary.encode_tf(BEFORE), tf.int32)
        both = tf.cast(vocabulary.encode_tf(BEFORE + row["targets_pretokenized"]), tf.int32)
        count = tf.size(before)
        is_apart = tf.reduce_all(both[:count] == before) if count <= tf.size(both) else False
        alone = tf.cast(row["targets"], tf.int32)
        return {**row, "targets": tf.cond(is_apart, lambda: both[count:], lambda: alone)}

    return dataset.map(follow)
