"""What lm-evaluation-harness 0.4 writes with `--log_samples`, read for comparisons.

A folder holds `samples_TASK_DATE.jsonl`, a line a question with prompts, options and their
log-likelihoods as texts, and `results_DATE.json` about the run. Neither has tokens; they can be
made again with the tokenizer by the harness's rule, which cuts after as many tokens as the prompt
has by itself.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import record_files
from teacherlm_jax.scoring.boundary import EncodeMany

MODEL = "lm-eval's model "
"""Stands before the name of a model, to which no digest of ours can be compared."""

_TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json")
_NAME = re.compile(r"^samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl$")


@dataclasses.dataclass(frozen=True)
class Sample:
    """A question of a log.

    Attributes:
      where: file and line.
      task: lm-eval's name of it.
      question_id: the document's own `id`, or its number.
      prompt: what stands before every option.
      continuations: each option, with the space before it.
      answer: number of the right option; None: the log's target is no number.
      log_likelihoods: of each option.
      unconditional: without the prompt, where lm-eval was asked for `acc_mutual_info`.
    """

    where: str
    task: str
    question_id: str
    prompt: str
    continuations: tuple[str, ...]
    answer: int | None
    log_likelihoods: tuple[float, ...]
    unconditional: tuple[float, ...] | None


@dataclasses.dataclass(frozen=True)
class Run:
    """What the results beside a log say; None: they do not, or are not there.

    Attributes:
      model: name, revision and commit.
      dtype: of the model.
      has_bos: whether a token was put before every prompt.
      bos_id: which.
      max_length: most tokens that the model was given.
    """

    model: str | None = None
    dtype: str | None = None
    has_bos: bool | None = None
    bos_id: int | None = None
    max_length: int | None = None


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A question's tokens without BOS."""

    context: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """What a run tokenized its texts with.

    Attributes:
      encode_many: texts -> the ids of each, without special tokens.
      adds_bos: whether it puts BOS before a text where it is not told; None: not known.
    """

    encode_many: EncodeMany
    adds_bos: bool | None = None


def adds_bos(folder: epath.PathLike) -> bool | None:
    """Whether a Hugging Face tokenizer puts BOS before a text by itself, as lm-eval lets it.

    Args:
      folder: with tokenizer_config.json, whose `add_bos_token` counts, or else tokenizer.json,
        whose template does; None where it has neither.
    """
    config, tokenizer = (
        _parsed(path.read_bytes(), str(path), "fetch the file anew") if path.exists() else {}
        for path in (epath.Path(folder) / name for name in _TOKENIZER_FILES)
    )
    if isinstance(config.get("add_bos_token"), bool):
        return bool(config["add_bos_token"])
    if not tokenizer:
        return None
    last = tokenizer.get("post_processor") or {}
    steps = last.get("processors", [last])
    templates = [step["single"] for step in steps if step.get("type") == "TemplateProcessing"]
    return any("SpecialToken" in template[0] for template in templates if template)


def read(path: epath.Path) -> list[Sample]:
    """Reads a log; of several filters the first counts.

    Raises:
      ValueError: it is empty, malformed, or of a task without options; says file and line.
    """
    name = _NAME.match(path.name)
    task = name["task"] if name else path.stem.removeprefix("samples_")
    found: list[Sample] = []
    first_filter = None
    for line, number in record_files.read_lines(path):
        where = f"{path}:{number}"
        row = _parsed(line, where, "the log was cut or changed; run lm-eval again")
        if not isinstance(row, dict):
            raise ValueError(f"{where}: {row!r:.80}, but a sample of lm-eval is an object.")
        first_filter = first_filter or str(row.get("filter"))
        if str(row.get("filter")) == first_filter:
            found.append(_sample(row, task, where))
    if not found:
        raise ValueError(f"{path} holds no samples: run lm-eval with --log_samples.")
    return found


def _parsed(content: bytes, where: str, remedy: str) -> Any:
    """JSON; what cannot be read, for its form or its depth, is one kind of error."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error}): {remedy}.") from None


def is_choice(row: Mapping[str, Any]) -> bool:
    """Whether a line is of a task where the model had texts to choose from, not to write any."""
    try:
        return all(
            len(one) > 1 and isinstance(one["arg_1"], str) for one in row["arguments"].values()
        )
    except (AttributeError, KeyError, TypeError):
        return False


def _sample(row: Mapping[str, Any], task: str, where: str) -> Sample:
    try:
        arguments = [tuple(one.values()) for one in row["arguments"].values()]
        prompts, texts = zip(*((one[0], one[1]) for one in arguments), strict=True)
        number, metrics = row["doc_id"], tuple(row.get("metrics") or ())
        if is_choice(row):
            results = [(float(one[0]), str(one[1])) for one in row["filtered_resps"]]
            "".join(prompts)  # All are texts.
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{where}: cannot be read as a question with options ({type(error).__name__}: {error}):"
            " give the log of a task of multiple choice."
        ) from None
    if not is_choice(row):
        raise ValueError(
            f"{where}: the model was to write, not to choose: give the log of a task of multiple"
            " choice."
        )
    if len(results) != len(texts) or not all(math.isfinite(value) for value, _ in results):
        raise ValueError(
            f"{where}: {len(texts)} options and {len(results)} results: there must be a finite"
            " log-likelihood of each."
        )
    values = tuple(value for value, _ in results)
    half = len(values) // 2
    with_unconditional = "acc_mutual_info" in metrics and texts[:half] == texts[half:]
    count = half if with_unconditional else len(values)
    if len(set(prompts[:count])) > 1:
        raise ValueError(
            f"{where}: its options have prompts of their own, as in Winogrande; such tasks cannot"
            " be compared here."
        )
    doc, target = row.get("doc"), str(row.get("target"))
    identity = doc.get("id") if isinstance(doc, dict) else None
    known = isinstance(identity, str | int) and not isinstance(identity, bool)
    return Sample(
        where=where,
        task=task,
        question_id=str(identity if known else number),
        prompt=prompts[0],
        continuations=texts[:count],
        answer=_number(target, count),
        log_likelihoods=values[:count],
        unconditional=values[count:] if with_unconditional else None,
    )


def _number(target: str, count: int) -> int | None:
    """The option that a target names; None: it is another text, such as a superscript two."""
    return next((number for number in range(count) if target == str(number)), None)


def read_run(path: epath.Path) -> Run:
    """What the results file of the same date says of a log's run."""
    name = _NAME.match(path.name)
    results = path.parent / f"results_{name['date']}.json" if name else None
    if results is None or not results.exists():
        return Run()
    told = _parsed(results.read_bytes(), str(results), "move it away, and less is known")
    try:
        config = told.get("config", {})
        arguments = config.get("model_args")
        arguments = arguments if isinstance(arguments, dict) else _arguments(str(arguments or ""))
        bos = told.get("tokenizer_bos_token")
        revision = [config.get("model_revision"), config.get("model_sha")]
        named = [told.get("model_name"), *revision, arguments.get("peft")]
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{results}: not results of lm-eval ({error}).") from None
    wanted = str(arguments.get("add_bos_token", "")).lower()
    bos_id = bos[1] if isinstance(bos, list) and len(bos) == 2 else None
    has_bos = {"true": True, "false": False}.get(wanted)
    if has_bos and bos_id is None:
        has_bos = None
    dtype, length = config.get("model_dtype"), told.get("max_length")
    return Run(
        model=" ".join(str(part) for part in named if part) or None,
        dtype=str(dtype).removeprefix("torch.") if dtype else None,
        has_bos=has_bos,
        bos_id=int(str(bos_id)) if str(bos_id).isdecimal() else None,
        max_length=length if isinstance(length, int) else None,
    )


def _arguments(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(","))
    return {name: value for name, _, value in pairs}


def tokens_of(samples: Sequence[Sample], encode_many: EncodeMany) -> list[Tokens]:
    """Tokens as lm-eval's causal models cut them: after as many as the prompt has by itself.

    White space at the prompt's end goes to the options first. Unlike our rule "joint", this may
    shift an option's beginning where the prompt's last token merges with it.
    """
    cut = [
        (one.prompt.rstrip(), [one.prompt + text for text in one.continuations]) for one in samples
    ]
    texts = list(dict.fromkeys(text for prompt, wholes in cut for text in (prompt, *wholes)))
    tokens = dict(zip(texts, map(tuple, encode_many(texts)), strict=True))
    found = []
    for prompt, wholes in cut:
        context = tokens[prompt]
        found.append(Tokens(context, tuple(tokens[whole][len(context) :] for whole in wholes)))
    return found
