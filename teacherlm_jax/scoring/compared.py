"""A scored question as it is compared with another: from receipts, or from logs of lm-eval."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging
from etils import epath

from teacherlm_jax.data import record_files
from teacherlm_jax.scoring import listed_options, lm_eval_logs, receipt_files
from teacherlm_jax.scoring.lm_eval_logs import Run, Sample, Tokenizer
from teacherlm_jax.scoring.receipts import Receipt
from teacherlm_jax.scoring.scores import NORMALISATIONS, QuestionScore, ScoringPolicy

BOS, TRUNCATION, CHECKPOINT, DTYPE = "BOS", "truncation", "checkpoint", "dtype"
FACTS = (BOS, TRUNCATION, CHECKPOINT, DTYPE)
"""What may be known of a score beside its texts and tokens."""
UNCONDITIONAL = "unconditional prompt"
"""What may be known of one without a prompt."""

_ANY = ScoringPolicy(max_length=2)  # Only `normalised` is asked, which needs none of it.
_DEEPEST = 3  # lm-eval writes into a folder a model; ours may lie in one a task.


@dataclasses.dataclass(frozen=True)
class Compared:
    """A scored question.

    Attributes:
      where: file and line, for errors.
      task: its name there.
      split: "": the file does not say.
      question_id: the data set's own, or a number.
      prompt: text.
      continuations: text of each option after the prompt.
      option_texts: text of each by itself.
      answer: number of the right option; None: not known.
      log_likelihoods: of each option.
      unconditional: the same without the prompt; None: there are none.
      normalisation: by which it was ranked.
      context: tokens of the prompt without BOS, as they were scored; None: not known.
      options: tokens of each option; None: not known.
      facts: those of `FACTS`, and `UNCONDITIONAL`, that are known.
    """

    where: str
    task: str
    split: str
    question_id: str
    prompt: str
    continuations: tuple[str, ...]
    option_texts: tuple[str, ...]
    answer: int | None
    log_likelihoods: tuple[float, ...]
    unconditional: tuple[float, ...] | None
    normalisation: str
    context: tuple[int, ...] | None
    options: tuple[tuple[int, ...], ...] | None
    facts: Mapping[str, Any]

    @property
    def joined(self) -> tuple[str, ...]:
        """Prompt and option together, for each option."""
        return tuple(self.prompt + text for text in self.continuations)

    @functools.cached_property
    def listed(self) -> listed_options.Listing | None:
        """The options as the prompt lists them, where they are answered by their letters."""
        return listed_options.find(self.prompt, self.continuations)

    def counts(self, normalisation: str) -> tuple[int, ...]:
        """What each log-likelihood is divided by, where it is."""
        if normalisation == "tokens":
            return tuple(map(len, self.options or ()))
        if normalisation == "bytes":
            return tuple(len(text.encode("utf-8")) for text in self.option_texts)
        return tuple(map(len, self.option_texts)) if normalisation == "characters" else ()

    def scores(self, normalisation: str) -> tuple[float, ...]:
        """What options are ranked by.

        Raises:
          ValueError: what it needs is not there.
        """
        if normalisation == "tokens" and self.options is None:
            raise ValueError(
                f"{self.where}: its tokens are not known, so log-likelihoods cannot be divided by"
                " their number: give --vocabulary, or rank by another normalisation."
            )
        if normalisation == "unconditional" and self.unconditional is None:
            raise ValueError(
                f"{self.where}: has no unconditional log-likelihoods: rank by one of "
                f"{', '.join(NORMALISATIONS[:-1])}."
            )
        return QuestionScore(
            question_id=self.question_id,
            log_likelihoods=self.log_likelihoods,
            token_counts=tuple(map(len, self.options or ((),) * len(self.log_likelihoods))),
            truncated=0,
            policy=_ANY,
            option_texts=self.option_texts,
            unconditional=self.unconditional,
        ).normalised(normalisation)


def of_receipt(one: Receipt, where: str) -> Compared:
    """A receipt, of which everything is known."""
    has_bos = one.bos_id is not None and one.context[0] == one.bos_id
    return Compared(
        where=where,
        task=one.task,
        split=one.split,
        question_id=one.question_id,
        prompt=one.prompt,
        continuations=one.continuations,
        option_texts=one.option_texts,
        answer=one.answer,
        log_likelihoods=one.log_likelihoods,
        unconditional=one.unconditional,
        normalisation=one.normalisation,
        context=one.context[1:] if has_bos else one.context,
        options=one.options,
        facts={
            BOS: one.bos_id,
            TRUNCATION: one.truncated,
            CHECKPOINT: one.checkpoint_digest,
            DTYPE: one.dtype,
            UNCONDITIONAL: one.unconditional_prompt,
        },
    )


def of_sample(one: Sample, run: Run, cut: lm_eval_logs.Tokens | None) -> Compared:
    """A sample of lm-eval's log, of which little is known.

    Args:
      one: the sample.
      run: what lm-eval's results say of the run.
      cut: its tokens by lm-eval's rule; None: not known.
    """
    facts: dict[str, Any] = {}
    if run.dtype is not None:
        facts[DTYPE] = run.dtype
    if run.model is not None:
        facts[CHECKPOINT] = f"{lm_eval_logs.MODEL}{run.model}"
    if run.has_bos is False or (run.has_bos and run.bos_id is not None):
        facts[BOS] = run.bos_id if run.has_bos else None
    if cut is not None and run.max_length is not None:
        # All but the last token are read, so one more than the model has room for fits.
        longest = max(map(len, cut.options)) + len(cut.context)
        if run.has_bos is not None or longest + 1 <= run.max_length + 1:
            facts[TRUNCATION] = max(0, longest + bool(run.has_bos) - run.max_length - 1)
    context = None if cut is None else cut.context[facts.get(TRUNCATION, 0) :]
    return Compared(
        where=one.where,
        task=one.task,
        split="",
        question_id=one.question_id,
        prompt=one.prompt,
        continuations=one.continuations,
        option_texts=tuple(text.lstrip() for text in one.continuations),
        answer=one.answer,
        log_likelihoods=one.log_likelihoods,
        unconditional=one.unconditional,
        normalisation="sum",
        context=context,
        options=None if cut is None else cut.options,
        facts=facts,
    )


def read(path: epath.PathLike, tokenizer: Tokenizer | None = None) -> list[Compared]:
    """Reads a file of receipts or of lm-eval's samples, or a folder with such.

    Args:
      path: in a folder, files `*.jsonl` are recognised by their first line, and others left out,
        such as lm-eval's of tasks where the model is to write.
      tokenizer: of lm-eval's run; None: its tokens are not known.

    Raises:
      FileNotFoundError: there is no such file, or the folder holds none that is known.
      ValueError: a file is empty, torn, malformed or of another kind, or a question stands twice.
    """
    place = epath.Path(path)
    if not place.exists():
        raise FileNotFoundError(f"there is no file or folder {str(place)!r}.")
    found: list[Compared] = []
    if place.is_dir():
        files = [file for file in _files(place, _DEEPEST) if _is_compared(file)]
        if not files:
            raise FileNotFoundError(
                f"folder {str(place)!r} holds no receipts and no samples of lm-eval (*.jsonl): "
                "name a file, or another folder."
            )
    else:
        files = [place]
    for file in files:
        kind = _kind(file)
        if kind is None:
            raise ValueError(
                f"{file} is empty, or its first line is neither a receipt nor a sample of lm-eval:"
                " give receipts that `teacherlm evaluate` wrote, or lm-eval's samples_*.jsonl,"
                " written with --log_samples."
            )
        found += kind(file, tokenizer)
    _check_once(found)
    return found


_Read = Callable[[epath.Path, Tokenizer | None], list[Compared]]


def _files(folder: epath.Path, depth: int) -> list[epath.Path]:
    found = []
    for path in sorted(folder.iterdir(), key=str):
        if path.name.endswith(".jsonl"):
            found.append(path)
        elif depth > 1 and path.is_dir():
            found += _files(path, depth - 1)
    return found


def _is_compared(file: epath.Path) -> bool:
    """Whether a file of a folder is read; says where it is one of lm-eval's that cannot be."""
    kind = _kind(file)
    if kind is not _samples:
        return kind is not None
    line, _ = next(iter(record_files.read_lines(file)))
    with contextlib.suppress(ValueError, RecursionError):  # Reading it tells what is wrong.
        if not lm_eval_logs.is_choice(json.loads(line)):
            logging.warning("%s is left out: there the model was to write, not to choose.", file)
            return False
    return True


def _kind(file: epath.Path) -> _Read | None:
    for line, _ in record_files.read_lines(file):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            # It may be one that was cut, or is nested too deeply; then that is what is told.
            if b'"doc_id"' in line:
                return _samples
            return _receipts if b'"checkpoint_digest"' in line or b'"prompt"' in line else None
        if not isinstance(row, dict):
            return None
        if {"prompt", "log_likelihoods"} <= row.keys():
            return _receipts
        return _samples if {"doc_id", "arguments", "filtered_resps"} <= row.keys() else None
    return None


def _receipts(file: epath.Path, tokenizer: Tokenizer | None) -> list[Compared]:
    del tokenizer  # Receipts have their tokens.
    found = []
    for line, number in record_files.read_lines(file):
        where = f"{file}:{number}"
        try:
            found.append(of_receipt(receipt_files.parse(line, where), where))
        except RecursionError as error:
            raise ValueError(
                f"{where}: nested too deeply for a receipt ({error}): score the task again."
            ) from None
    return found


def _samples(file: epath.Path, tokenizer: Tokenizer | None) -> list[Compared]:
    run = lm_eval_logs.read_run(file)
    samples = lm_eval_logs.read(file)
    if tokenizer is None:
        return [of_sample(one, run, None) for one in samples]
    if run.has_bos is None and tokenizer.adds_bos is not None:
        run = dataclasses.replace(run, has_bos=tokenizer.adds_bos)
    cuts = lm_eval_logs.tokens_of(samples, tokenizer.encode_many)
    return [of_sample(one, run, cut) for one, cut in zip(samples, cuts, strict=True)]


def _check_once(found: Sequence[Compared]) -> None:
    seen: dict[tuple[str, str, str], str] = {}
    for one in found:
        key = (one.task, one.split, one.question_id)
        if key in seen:
            raise ValueError(
                f"question {one.question_id!r} of {one.task} stands twice, at {seen[key]} and at "
                f"{one.where}: give the files of one evaluation."
            )
        seen[key] = one.where
