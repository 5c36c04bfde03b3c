"""The questions of evaluation tasks and of files, as decontamination compares them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import generators, prompt_scaffolding, text_rows
from teacherlm_jax.data.dataset_source import MissingDataError
from teacherlm_jax.data.question_index import EvaluationQuestion
from teacherlm_jax.data.word_runs import normalized
from teacherlm_jax.main import data_texts

ALL = "all"


class Questions:
    """Questions by the names of their tasks and files.

    Attributes:
      absent: tasks of `ALL` whose data is not here -> why.
    """

    def __init__(self, names: Sequence[str], split: str, field: str) -> None:
        """See the class; nothing is read yet.

        Args:
          names: evaluation tasks, mixtures of them, files of questions, or `ALL`.
          split: of the tasks, and what that of a file is called.
          field: of the rows of files, with the question.
        """
        self._names, self._split, self._field = names, split, field
        self.absent: dict[str, str] = {}

    def __iter__(self) -> Iterator[EvaluationQuestion]:
        """Questions, task by task.

        Raises:
          FileNotFoundError: a task that was named, or all of them, have no data here.
          ValueError: a name is of no evaluation, or a row is malformed.
        """
        tasks: dict[str, None] = {}
        for name in self._names:
            if name == ALL:
                continue
            if data_texts.is_file(name):
                yield from self._of_file(name)
            else:
                tasks |= dict.fromkeys(self._tasks_of(name))
        yield from self._of_tasks(list(tasks), may_be_absent=False)
        if ALL in self._names:
            rest = [name for name in _catalogue_tasks() if name not in tasks]
            yield from self._of_tasks(rest, may_be_absent=True)
            if rest and len(self.absent) == len(rest):
                raise FileNotFoundError(
                    f"none of the {len(rest)} evaluation tasks has its data here, for example"
                    f" {rest[0]}: {self.absent[rest[0]]}"
                )

    def _tasks_of(self, name: str) -> list[str]:
        from teacherlm_jax.data import pipeline

        return [task.name for task in data_texts.tasks_of(pipeline.registered(name))]

    def _of_tasks(self, names: Sequence[str], may_be_absent: bool) -> Iterator[EvaluationQuestion]:
        """Questions of tasks; those of forms of one set are read once."""
        of_catalogue = _catalogue_tasks()
        same: dict[Any, list[str]] = {}
        for name in names:
            same.setdefault(id(of_catalogue[name]) if name in of_catalogue else name, []).append(
                name
            )
        for forms in same.values():
            read = _of_catalogue if forms[0] in of_catalogue else _of_ranked_task
            try:
                with generators.surfaced():
                    yield from read(forms, self._split)
            except (FileNotFoundError, MissingDataError) as error:
                if not may_be_absent:
                    raise
                self.absent |= dict.fromkeys(forms, str(error).partition("\n")[0])

    def _of_file(self, name: str) -> Iterator[EvaluationQuestion]:
        task = epath.Path(name).stem
        for number, row in enumerate(text_rows.of_files([name])):
            text = row.values.get(self._field)
            if not isinstance(text, str) or not normalized(text):
                raise ValueError(
                    f"{row.where}: field {self._field!r} is {text!r:.80}; it must be a question:"
                    " give --against_field."
                )
            choices = row.values.get("choices") or []
            answer = str(row.values.get("answer", ""))
            yield EvaluationQuestion(
                task,
                self._split,
                row.id or str(number),
                prompt_scaffolding.question_parts(text),
                tuple(map(str, choices)),
                answer_text(answer, choices),
            )


def answer_text(answer: str, choices: Sequence[str]) -> str:
    """The text of an answer that may be a letter."""
    place = ord(answer) - ord("A") if len(answer) == 1 else -1
    return str(choices[place]) if 0 <= place < len(choices) else answer


def _catalogue_tasks() -> Mapping[str, Any]:
    from teacherlm_jax.tasks.evaluation import registry

    return registry.TASKS


def _of_catalogue(names: Sequence[str], split: str) -> Iterator[EvaluationQuestion]:
    from teacherlm_jax.tasks.evaluation import registry

    for question in registry.evaluation_texts(names[0], split):
        asked = f" {normalized(question.question)} "
        # Its own texts alone: a row may have others, such as facts that are not shown.
        parts = {
            name: text for name, text in question.fields.items() if f" {normalized(text)} " in asked
        } or {"question": question.question}
        answer = answer_text(question.answer, question.choices)
        for name in names:
            yield EvaluationQuestion(name, split, question.id, parts, question.choices, answer)


def _of_ranked_task(names: Sequence[str], split: str) -> Iterator[EvaluationQuestion]:
    """Questions of any other task of rank classification: a row for each option."""
    from teacherlm_jax.data import pipeline

    last = None
    for row in text_rows.of_task(pipeline.registered(names[0]), split):
        if "idx" not in row.values or "inputs" not in row.texts:
            raise ValueError(
                f"{names[0]} has no features idx and inputs, so it is no evaluation by rank"
                " classification: name one that is, or a file of questions."
            )
        number = int(row.values["idx"][0])
        if number == last:
            continue
        last = number
        parts = prompt_scaffolding.question_parts(row.texts["inputs"])
        for name in names:
            yield EvaluationQuestion(name, split, row.id or str(number), parts)
