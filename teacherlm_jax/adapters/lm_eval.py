"""lm-evaluation-harness runs our checkpoints: its model `teacherlm`.

    python -m teacherlm_jax.adapters.lm_eval --model teacherlm \
        --model_args checkpoint=/tmp/bloom --tasks hellaswag --batch_size auto

is the harness' own command line, to which this module has introduced the model: it looks for models
in itself alone. In Python, import this module and call `lm_eval.simple_evaluate(model="teacherlm",
model_args={"checkpoint": ...})`.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before TensorFlow loads; and under its own name: this run of the file is another module, whose
    # class is another one, and the harness takes one class a name.
    from teacherlm_jax.metrics import start_up

    start_up.prepare_environment()
    with start_up.without_chatter():
        from teacherlm_jax.adapters import lm_eval as adapter
    adapter.main()
    raise SystemExit

import collections
import functools
from collections.abc import Sequence
from typing import Any

import jax
from tqdm import tqdm

from teacherlm_jax.adapters import model as model_lib
from teacherlm_jax.adapters import option_rows, until
from teacherlm_jax.generation import sampling
from teacherlm_jax.generation.engine import Generator
from teacherlm_jax.models import parameters
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.scoring import boundary
from teacherlm_jax.scoring.rank import Scorer, check_finite
from teacherlm_jax.scoring.scores import ScoringPolicy

try:
    # The harness introduces its own models only where none is known yet: they come before ours.
    import lm_eval.models  # noqa: F401
    from lm_eval import utils as harness
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError as error:
    raise ImportError(
        f"the model for lm-evaluation-harness needs lm_eval, which cannot be imported ({error}): "
        "pip install 'teacherlm_jax[lm-eval]'."
    ) from error

# Where texts are kept in a cache of the harness: batches after which they are.
_BATCHES_BETWEEN_KEEPING = 16


class TeacherLM(LM):
    """A checkpoint as a model of lm-evaluation-harness.

    Numbers are those of the harness' model `hf` over the same weights, to rounding: the same
    tokens, BOS and truncation. It differs where `hf` would score an empty or a shifted
    continuation; see `scoring.boundary`. They do not depend on the batch size or on the order of
    requests.

    Args:
      checkpoint: the folder of an import, a `checkpoints` folder, or a Hugging Face directory.
      tokenizer: folder of a public tokenizer; by default the one beside the checkpoint.
      vocabulary_of: MODULE:TASK, a seqio task whose vocabulary the model was trained with.
      batch_size: rows that run together; None or "auto": 64. It is rounded up to what the mesh
        divides, and changes no result.
      max_length: most tokens that the model is fed; by default as its files say.
      add_bos_token: whether contexts begin with BOS; None: as the model's files say.
      prefix_token_id: what stands for an empty context; None: BOS, or EOS where there is none.
      boundary_rule: "joint", the harness', or "apart", the paper's; see `scoring.boundary`.
      max_gen_toks: most tokens that are written where a task does not say.
      seed: of samples, where a task asks for them.
      dtype: "float32" or "bfloat16", of computation and parameters; None: as saved.
      replica: which of models that were trained together.
      data: size of the mesh axis; -1: the devices that the others leave.
      fsdp: likewise.
      tensor: likewise.
      device: ignored, since JAX chooses: JAX_PLATFORMS=cpu and the like.
      max_batch_size: ignored.

    Attributes:
      counts: requests, and those whose tokens are not simply those of their two texts.
    """

    def __init__(
        self,
        checkpoint: str,
        *,
        tokenizer: str | None = None,
        vocabulary_of: str | None = None,
        batch_size: int | str | None = None,
        max_length: int | None = None,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        boundary_rule: str = "joint",
        max_gen_toks: int = 256,
        seed: int = 0,
        dtype: str | None = None,
        replica: int | None = None,
        data: int = -1,
        fsdp: int = 1,
        tensor: int = 1,
        device: str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        """Opens the checkpoint and says how texts will become tokens; see the class.

        Raises:
          FileNotFoundError: there is no checkpoint.
          ValueError: an argument is impossible, or does not fit the checkpoint.
        """
        super().__init__()
        _check_rule(boundary_rule)
        model_lib.check_whole("max_gen_toks", max_gen_toks)
        model_lib.check_whole("seed", seed)
        tokens = model_lib.tokens_of(checkpoint, tokenizer, vocabulary_of)
        mesh = mesh_lib.MeshConfig(data=data, fsdp=fsdp, tensor=tensor)
        self._opened = model_lib.open_model(
            checkpoint, tokens, mesh=mesh, dtype=dtype, replica=replica
        )
        config = self._opened.config
        self.max_length = model_lib.max_length_of(max_length, config, tokens.name)
        self.max_gen_toks = max_gen_toks
        self.batch_size = model_lib.batch_size_of(batch_size, self._opened.mesh)
        self._seed = seed
        self._decoder = Decoder(config)
        self._encoder = option_rows.Encoder(
            tokens,
            model_lib.bos_of(tokens, add_bos_token),
            model_lib.prefix_of(tokens, prefix_token_id),
            boundary_rule,
            self.max_length,
        )
        self.counts = self._encoder.counts
        # BOS and truncation are the encoder's: the harness cuts each request by itself. The last
        # token of a continuation is not fed.
        self._scorer = Scorer(
            self._decoder,
            ScoringPolicy(max_length=self.max_length + 1),
            batch_size=self.batch_size,
            mesh=self._opened.mesh,
        )
        print(f"teacherlm: {self._description(device)}", flush=True)

    def _description(self, device: str | None) -> str:
        tokens, encoder = self._opened.tokens, self._encoder

        def shown(token: int) -> str:
            return f"{token} ({tokens.decode([token], with_special=True)!r})"

        parts = [
            str(self._opened.loaded.path),
            "no BOS" if encoder.bos_id is None else f"BOS {shown(encoder.bos_id)}",
            f"{shown(encoder.prefix_id)} for empty contexts",
            f"boundary {encoder.rule!r}",
            f"max_length {self.max_length}",
            f"batches of {self.batch_size} on {self._opened.mesh.devices.size} x "
            f"{jax.devices()[0].device_kind}",
        ]
        # The harness asks for the first GPU where its user asks for nothing.
        if device not in (None, "cuda:0"):
            parts.append(f"device {device!r} ignored: JAX chooses, see JAX_PLATFORMS")
        return ", ".join(parts)

    @property
    def tokenizer_name(self) -> str:
        """Tells caches of requests apart."""
        return self._opened.tokens.name.replace("/", "__")

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes beside its results."""
        config, encoder = self._opened.config, self._encoder
        return {
            "model_num_parameters": parameters.parameter_count(
                parameters.boxed_params(self._decoder)
            ),
            "model_dtype": config.dtype,
            "checkpoint": str(self._opened.loaded.path),
            "checkpoint_step": self._opened.loaded.step,
            "tokenizer": self._opened.tokens.name,
            "bos_id": encoder.bos_id,
            "prefix_token_id": encoder.prefix_id,
            "boundary": encoder.rule,
            "max_length": self.max_length,
            "requests": self.counts.requests,
            "requests_truncated": self.counts.truncated,
            "requests_moved": self.counts.moved,
        }

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Not done: raises ValueError."""
        raise ValueError(
            "teacherlm applies no chat templates: leave out --apply_chat_template, --system_"
            "instruction and --fewshot_as_multiturn."
        )

    # Likelihoods

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Log-likelihood of each continuation after its context, and whether it is the greedy one.

        Raises:
          ValueError: a continuation cannot be scored; nothing has run then.
        """
        encoded = self._encoder.pairs(
            [option_rows.Pair((r.task_name, r.doc_id), *r.args) for r in requests]
        )
        found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)

        def keep(request: int, answer: tuple[float, bool]) -> None:
            found[request] = answer
            self.cache_hook.add_partial("loglikelihood", requests[request].args, answer)

        self._score(encoded, keep, disable_tqdm)
        return found

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-likelihood of each whole text, in windows of `max_length`, as the harness cuts them.

        Where texts begin with BOS, that token is scored too, after the one for empty contexts: so
        does the harness' own model.
        """
        windows: list[option_rows.Encoded] = []
        of_request: list[int] = []
        texts = [request.args[0] for request in requests]
        for number, ids in enumerate(self._encoder.texts(texts)):
            pieces = harness.get_rolling_token_windows(
                token_list=list(ids),
                prefix_token=self._encoder.prefix_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for context, continuation in map(harness.make_disjoint_window, pieces):
                document = number, len(windows)
                windows.append(option_rows.Encoded(document, tuple(context), tuple(continuation)))
                of_request.append(number)
        sums = [0.0] * len(requests)
        left = collections.Counter(of_request)

        def keep(window: int, answer: tuple[float, bool]) -> None:
            request = of_request[window]
            sums[request] += answer[0]
            left[request] -= 1
            if not left[request]:
                text = (texts[request],)
                self.cache_hook.add_partial("loglikelihood_rolling", text, sums[request])

        self._score(windows, keep, disable_tqdm)
        return sums

    def _score(self, encoded: Sequence[option_rows.Encoded], keep: Any, disable_tqdm: bool) -> None:
        """Scores requests, and keeps a batch's answers when it has run: the harness may cache."""
        rows = option_rows.rows(encoded, self.max_length)
        splits = [self._scorer.cut(question) for question in rows.questions]
        with tqdm(
            total=len(encoded), disable=disable_tqdm, desc="Running loglikelihood requests"
        ) as bar:
            for numbers, values_SNO, greedy_SNO in self._scorer.run(self._opened.params, splits):
                for index, number in enumerate(numbers):
                    requests = rows.requests[number]
                    values_O = values_SNO[0, index, : len(requests)]
                    check_finite(f"question {rows.questions[number].question_id!r}", values_O)
                    answers = zip(values_O.tolist(), greedy_SNO[0, index].tolist())
                    for request, answer in zip(requests, answers):
                        keep(request, answer)
                    bar.update(len(requests))

    def _parts(self, numbers: Sequence[int]) -> list[Sequence[int]]:
        """All at once; where the harness has a cache, those after which texts are kept."""
        if getattr(self.cache_hook, "dbdict", None) is None:
            return [numbers] if numbers else []
        size = _BATCHES_BETWEEN_KEEPING * self.batch_size
        return [numbers[start : start + size] for start in range(0, len(numbers), size)]

    # Generation

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model writes after each context until one of its stops.

        A cache of the harness knows an answer by its request, of which samples have several: so
        they are not kept as it goes, and are numbered all at once.

        Raises:
          ValueError: a setting of the task's is not known or impossible; nothing has run then.
        """
        groups: dict[until.Settings, list[int]] = {}
        for number, request in enumerate(requests):
            asked = until.settings(request.args[1], self.max_gen_toks)
            if asked.max_new_tokens >= self.max_length:
                raise ValueError(
                    f"max_gen_toks = {asked.max_new_tokens}, but max_length = {self.max_length} "
                    "must hold a token of the context too: lower it (--gen_kwargs)."
                )
            groups.setdefault(asked, []).append(number)
        contexts = [request.args[0] for request in requests]
        prompts = self._encoder.texts(contexts)
        found = [""] * len(requests)
        with tqdm(
            total=len(requests), disable=disable_tqdm, desc="Running generate_until requests"
        ) as bar:
            for asked, numbers in groups.items():
                kept = self.max_length - asked.max_new_tokens
                prefix = (self._encoder.prefix_id,)
                own = {n: (contexts[n], prompts[n][-kept:] or prefix) for n in numbers}
                is_sampled = asked.policy != sampling.Greedy()
                # Of a length together, so that parts need few programs beside those of the whole.
                numbers.sort(key=lambda number: -len(prompts[number]))
                for part in [numbers] if is_sampled else self._parts(numbers):
                    written = until.write(
                        functools.partial(self._generator, asked),
                        self._opened.tokens,
                        [own[number] for number in part],
                        asked,
                        bar.update,
                    )
                    for number, text in zip(part, written, strict=True):
                        found[number] = text
                        if not is_sampled:
                            args = requests[number].args
                            self.cache_hook.add_partial("generate_until", args, text)
        return found

    def _generator(self, asked: until.Settings, most: int) -> Generator:
        return Generator(
            self._decoder,
            self._opened.params,
            max_new_tokens=most,
            max_length=self.max_length,
            eos_id=self._opened.tokens.eos_id,
            policy=asked.policy,
            batch_size=self.batch_size,
            seed=self._seed,
            valid_vocab_size=self._opened.tokens.vocab_size,
            mesh=self._opened.mesh,
        )


def _check_rule(rule: str) -> None:
    if rule not in boundary.RULES:
        raise ValueError(f"boundary_rule = {rule!r}, but it must be one of {boundary.RULES}.")


def main() -> None:
    """The harness' command line, with the model `teacherlm`."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


register_model("teacherlm")(TeacherLM)
