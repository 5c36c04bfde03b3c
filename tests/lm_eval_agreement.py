"""Likelihoods of options beside lm-evaluation-harness' own model `hf`, on the same weights.

    python -m tests.lm_eval_agreement

prints, for small models at random and briefly trained, how far the two are apart over all questions
of CREAK, ECQA and StrategyQA in ../shared and over our own.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from teacherlm_jax.data.hf_vocabulary import HuggingFaceVocabulary
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.scoring import boundary
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.scores import Question, QuestionScore, ScoringPolicy
from teacherlm_jax.tasks.evaluation import forms, questions
from teacherlm_jax.weights import any_checkpoint
from tests import tiny_lm_eval
from tests.source import ROOT

PAPER = ROOT.parent / "shared" / "data" / "paper_eval"
SETS = ("creak", "ecqa", "strategyqa")
OWN = "own"
# Prompts of StrategyQA with its facts are long; characters, and many are tokens of their own.
MAX_LENGTH = 1024

Asked = Sequence[tuple[str, tuple[str, ...]]]


def asked(name: str, form: str, count: int | None = None) -> Asked:
    """Prompts and options of a set, as the evaluation tasks write them."""
    if name == OWN:
        rows = [(question, choices, letter) for question, choices, letter in tiny_lm_eval.SAMPLES]
    else:
        lines = (PAPER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:count]
        values = [json.loads(line) for line in lines]
        rows = [(value["question"], tuple(value["choices"]), value["answer"]) for value in values]
    found = []
    for number, (question, choices, letter) in enumerate(rows):
        one = questions.Question(str(number), question, choices, letter, {})
        prompt, options = forms.FORMS[form]("", one)
        found.append((prompt, tuple(options)))
    return found


@functools.cache
def theirs(folder: pathlib.Path, add_bos: bool | None) -> HFLM:
    """The harness' model."""
    return HFLM(
        pretrained=str(folder),
        device="cpu",
        dtype="float32",
        batch_size=16,
        max_length=MAX_LENGTH,
        add_bos_token=add_bos,
    )


@functools.cache
def vocabulary(folder: pathlib.Path) -> HuggingFaceVocabulary:
    """Our tokenizer of a folder."""
    return HuggingFaceVocabulary(folder)


@functools.cache
def params(folder: pathlib.Path, mesh_config: mesh_lib.MeshConfig) -> Any:
    """Our model of a folder: decoder, parameters and mesh."""
    mesh = mesh_lib.make_mesh(mesh_config)
    config = any_checkpoint.saved_model(folder)
    return Decoder(config), any_checkpoint.load_model(folder, config, mesh).params, mesh


ONE_DEVICE = mesh_lib.MeshConfig(device_count=1)


def ours(
    folder: pathlib.Path,
    cuts: Sequence[boundary.Cut],
    bos_id: int | None,
    rule: str,
    batch_size: int = 16,
    mesh: mesh_lib.MeshConfig = ONE_DEVICE,
) -> list[QuestionScore]:
    """Scores by our scorer."""
    model, parameters, devices = params(folder, mesh)
    policy = ScoringPolicy(max_length=MAX_LENGTH, bos_id=bos_id, boundary=rule)
    scorer = Scorer(model, policy, batch_size=batch_size, mesh=devices)
    return scorer.score(
        parameters, [Question(n, cut.prompt, cut.options) for n, cut in enumerate(cuts)]
    )


def cut(folder: pathlib.Path, asked: Asked, rule: str) -> list[boundary.Cut]:
    """Texts as tokens."""
    texts = [boundary.TextQuestion(prompt, options) for prompt, options in asked]
    return boundary.cut_many(vocabulary(folder).encode_many, texts, rule)


def bos_of(folder: pathlib.Path, add_bos: bool | None) -> int | None:
    """Our BOS where the harness' `add_bos_token` is this."""
    own = vocabulary(folder)
    return own.prefix_id if add_bos is None else own.bos_id if add_bos else None


@dataclasses.dataclass(frozen=True)
class Agreement:
    """What became of a set.

    Attributes:
      largest: difference of any option's log-likelihood, in nats.
      predictions: questions whose prediction differs, though ours is no near-tie.
      near_ties: questions whose two best options are within 1e-4 nats, where rounding decides.
      greedy: options of which one says that they are greedy and the other that they are not.
      questions: in all.
      options: in all.
      by_text: questions that the harness tokenized itself. The others' tokens are ours: its own
        would be an empty or shifted option (joint), or it has no such rule (apart).
      spread: standard deviation of the log-likelihoods, beside which differences are small.
    """

    largest: float
    predictions: int
    near_ties: int
    greedy: int
    questions: int
    options: int
    by_text: int
    spread: float


def is_sound(harness: HFLM, prompt: str, options: Sequence[str]) -> bool:
    """Whether the harness' cut leaves each option whole: none is empty, or begins late."""
    for option in options:
        context, continuation = harness._encode_pair(prompt, option)
        if not continuation or context + continuation != harness.tok_encode(prompt + option):
            return False
    return True


def compare(
    folder: pathlib.Path, asked: Asked, rule: str, add_bos: bool | None = None
) -> Agreement:
    """Scores by both.

    Raises:
      AssertionError: of a question that the harness tokenizes soundly, tokens differ.
    """
    harness, bos_id = theirs(folder, add_bos), bos_of(folder, add_bos)
    cuts = cut(folder, asked, rule)
    scores = ours(folder, cuts, bos_id, rule)
    sound = [rule == "joint" and is_sound(harness, *one) for one in asked]
    bos = [] if bos_id is None else [bos_id]
    texts, tokens = [], []
    for number, ((prompt, options), own) in enumerate(zip(asked, cuts)):
        for option, option_tokens in zip(options, own.options):
            if sound[number]:
                expected = [*bos, *own.prompt], list(option_tokens)
                assert own.moved == 0
                assert harness._encode_pair(prompt, option) == expected, (prompt, option)
                texts.append(Instance("loglikelihood", {}, (prompt, option), len(texts)))
            else:
                tokens.append(((prompt, option), [*bos, *own.prompt], list(option_tokens)))
    by_text = iter(harness.loglikelihood(texts, disable_tqdm=True) if texts else [])
    by_token = iter(harness._loglikelihood_tokens(tokens, disable_tqdm=True) if tokens else [])
    found = [
        [next(by_text if sound[number] else by_token) for _ in options]
        for number, (_, options) in enumerate(asked)
    ]
    pairs = [
        (value, greedy, own_value, own_greedy)
        for answers, score in zip(found, scores)
        for (value, greedy), own_value, own_greedy in zip(
            answers, score.log_likelihoods, score.is_greedy, strict=True
        )
    ]
    predictions = [int(np.argmax([value for value, _ in answers])) for answers in found]
    return Agreement(
        largest=max(abs(one - other) for one, _, other, _ in pairs),
        predictions=sum(
            prediction != score.prediction and not score.is_near_tie
            for prediction, score in zip(predictions, scores, strict=True)
        ),
        near_ties=sum(score.is_near_tie for score in scores),
        greedy=sum(one != other for _, one, _, other in pairs),
        questions=len(asked),
        options=len(pairs),
        by_text=sum(sound),
        spread=float(np.std([value for value, *_ in pairs])),
    )


def main() -> None:
    """Prints a table."""
    names = (OWN, *(name for name in SETS if (PAPER / f"{name}.jsonl").exists()))
    print(
        f"{'model':16}{'set':12}{'form':9}{'rule':7}{'options':>8}{'largest':>10}"
        f"{'other predictions':>20}{'near-ties':>11}"
    )
    for family in tiny_lm_eval.FAMILIES:
        for trained in (False, True):
            folder = tiny_lm_eval.folder(family, trained)
            model = family + (" trained" if trained else "")
            for name in names:
                for form in forms.FORMS:
                    for rule in boundary.RULES:
                        one = compare(folder, asked(name, form), rule)
                        print(
                            f"{model:16}{name:12}{form:9}{rule:7}"
                            f"{one.options:8}{one.largest:10.1e}"
                            f"{f'{one.predictions} of {one.questions}':>20}{one.near_ties:11}"
                            f"  ({one.by_text} questions by text)",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
