"""Generation for many prompts: validated, batched by length, and the same in every batch."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from teacherlm_jax.generation import batching, sampling
from teacherlm_jax.generation import decode as decode_lib
from teacherlm_jax.generation.placement import Placement
from teacherlm_jax.metrics.finite import NonFiniteError
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import rules as rules_lib

Progress = Callable[[int, int], None]
GREEDY = sampling.Greedy()


@dataclasses.dataclass(frozen=True)
class GenerationRequest:
    """One sample to be written.

    Attributes:
      example_id: names the example in errors and seeds the noise, so it should tell apart what
        should be drawn apart: put the kind of explanation into it.
      sample_index: which sample of this example, from 0.
      prompt_tokens: token ids without BOS.
      max_new_tokens: most tokens to write; None takes the generator's.
    """

    example_id: str
    sample_index: int
    prompt_tokens: Sequence[int]
    max_new_tokens: int | None = None


@dataclasses.dataclass(frozen=True)
class GenerationResult:
    """One sample.

    Attributes:
      example_id: of the request.
      sample_index: of the request.
      tokens: new token ids, without EOS.
      finished: whether the model ended it with EOS; False: it was cut at the maximum.
      log_probability: natural log-probability of the tokens, and of EOS where finished, under
        the model itself (no temperature, top-k or top-p).
      prompt_length: tokens of the prompt, BOS included.
    """

    example_id: str
    sample_index: int
    tokens: tuple[int, ...]
    finished: bool
    log_probability: float
    prompt_length: int


@functools.lru_cache(maxsize=32)
def _functions(
    model: Decoder,
    policy: sampling.Policy,
    max_new_tokens: int,
    max_length: int,
    valid_vocab_size: int | None,
    placement: Placement,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Jitted prefill and decode, shared by all generators that are configured alike."""

    def prefill(params: Any, prompts: decode_lib.Prompts) -> Any:
        batching.count_trace("generation.prefill")
        length = decode_lib.cache_length(prompts.tokens_BT.shape[1], max_new_tokens, max_length)
        return decode_lib.prefill(params, model, prompts.tokens_BT, prompts.lengths_B, length)

    def decode(params: Any, cache: Any, prompts: decode_lib.Prompts, key_data: Any) -> Any:
        batching.count_trace("generation.decode")
        return decode_lib.decode(
            params,
            model,
            policy,
            cache,
            prompts,
            jax.random.wrap_key_data(key_data, impl=sampling.KEY_IMPLEMENTATION),
            max_new_tokens=max_new_tokens,
            valid_vocab_size=valid_vocab_size,
        )

    return jax.jit(prefill), jax.jit(
        decode, donate_argnums=1, out_shardings=(placement.replicated, None)
    )


def _check_lengths(model: Decoder, max_new_tokens: int, max_length: int) -> None:
    if max_new_tokens < 1 or max_new_tokens >= max_length:
        raise ValueError(
            f"max_new_tokens = {max_new_tokens} and max_length = {max_length}, but at least 1 "
            "new token and 1 prompt token must fit: lower max_new_tokens or raise max_length."
        )
    model.config.check_row_length(max_length, "max_length")


class Generator:
    """Writes tokens after prompts.

    A result depends on the parameters, the prompt, the policy, the seed, the example's id and
    the sample index; not on the batch size, the bucket, the other requests, their order, the
    number of hosts or a restart. (Arithmetic in other shapes may round otherwise: where two
    tokens are that close, and in bfloat16 they can be, another batch size may choose the other.)

    Attributes:
      compilations: how many programs this generator had to compile.
      max_new_tokens: most tokens to write after a prompt.
      max_length: most tokens of prompt and new tokens together.
      eos_id: ends a row; None: rows end at their maximum alone.
    """

    def __init__(
        self,
        model: Decoder,
        params: Any,
        *,
        max_new_tokens: int,
        max_length: int,
        eos_id: int | None,
        bos_id: int | None = None,
        policy: sampling.Policy = GREEDY,
        batch_size: int = 64,
        buckets: Sequence[int] | None = None,
        seed: int = 0,
        valid_vocab_size: int | None = None,
        mesh: Mesh | None = None,
        rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES,
    ) -> None:
        """Configures; compiles nothing.

        Args:
          model: the decoder.
          params: its parameters, placed by the caller where there is a mesh.
          max_new_tokens: most tokens to write after a prompt.
          max_length: most tokens of prompt and new tokens together.
          eos_id: ends a row; None: rows end at their maximum alone.
          bos_id: put before every prompt; None puts nothing.
          policy: how tokens are chosen.
          batch_size: rows that run together; on a mesh a multiple of data x fsdp.
          buckets: prompt lengths to which batches are padded, each compiled once; by default
            powers of two.
          seed: of the run's noise.
          valid_vocab_size: ids at and above it are never written (rows that pad the table).
          mesh: devices to run on; None: the default device.
          rules: logical axis rules of the mesh.

        Raises:
          ValueError: a number is out of its range.
        """
        _check_lengths(model, max_new_tokens, max_length)
        self._placement = Placement(mesh, rules)
        self._placement.check_batch_size(batch_size)
        self.max_new_tokens = max_new_tokens
        self.max_length = max_length
        self._model = model
        self._params = params
        self.eos_id = eos_id
        self._eos_id = decode_lib.NO_EOS if eos_id is None else eos_id
        self._bos = () if bos_id is None else (bos_id,)
        self._batch_size = batch_size
        self._buckets = batching.resolve_buckets(buckets, max_length)
        self._vocab_size = valid_vocab_size or model.config.vocab_size
        self._key_data = np.asarray(jax.random.key_data(sampling.run_key(seed)))
        self._prefill, self._decode = _functions(
            model, policy, max_new_tokens, max_length, valid_vocab_size, self._placement
        )
        self._compilations = batching.CompilationCount()

    @property
    def compilations(self) -> int:
        """Programs compiled for this generator so far."""
        return self._compilations.total

    def check(self, requests: Sequence[GenerationRequest]) -> None:
        """Checks every request, before anything is compiled.

        Raises:
          ValueError: naming the example, its numbers and what to change.
        """
        for request in requests:
            self._check_one(request)

    def generate(
        self, requests: Sequence[GenerationRequest], progress: Progress | None = None
    ) -> list[GenerationResult]:
        """Writes one sample a request.

        Args:
          requests: in any order; over a mesh of many processes the same in every process.
          progress: called after each batch with the requests done and their number.

        Returns:
          Results in the order of the requests.

        Raises:
          ValueError: a request is not valid; nothing has run then.
        """
        self.check(requests)
        rows = [(*self._bos, *request.prompt_tokens) for request in requests]
        results: list[GenerationResult | None] = [None] * len(requests)
        done = 0
        plans = batching.plan_batches(list(map(len, rows)), self._batch_size, self._buckets)
        for plan in plans:
            batch = [requests[row] for row in plan.rows]
            decoded = self._run([rows[row] for row in plan.rows], batch, plan.length)
            for index, row in enumerate(plan.rows):
                results[row] = self._result(batch[index], len(rows[row]), decoded, index)
            done += len(plan.rows)
            if progress is not None:
                progress(done, len(requests))
        return [result for result in results if result is not None]

    def _check_one(self, request: GenerationRequest) -> None:
        where = f"example {request.example_id!r}, sample {request.sample_index}"
        tokens = request.prompt_tokens
        new = self._max_new(request)
        length = len(self._bos) + len(tokens)
        if length < 1:
            raise ValueError(f"{where}: the prompt is empty: give it a token, or set bos_id.")
        if not 1 <= new <= self.max_new_tokens:
            raise ValueError(
                f"{where}: max_new_tokens = {new}, but it must lie in [1, {self.max_new_tokens}], "
                "the generator's: raise that one, or leave the request's None."
            )
        if length + new > self.max_length:
            raise ValueError(
                f"{where}: {length} prompt tokens (BOS included) + {new} new tokens = "
                f"{length + new}, but the most is max_length = {self.max_length}: shorten the "
                f"prompt to {self.max_length - new} tokens, lower max_new_tokens, or raise "
                "max_length."
            )
        if length > self._buckets[-1]:
            raise ValueError(
                f"{where}: {length} prompt tokens (BOS included) do not fit the largest bucket, "
                f"{self._buckets[-1]}: add a bucket of at least {length}, or leave buckets None."
            )
        if len(tokens):
            for token in (min(tokens), max(tokens)):
                if not 0 <= token < self._vocab_size:
                    raise ValueError(
                        f"{where}: token id {token}, but ids must lie in [0, {self._vocab_size}): "
                        "the prompt was tokenized with another vocabulary than the model's."
                    )

    def _max_new(self, request: GenerationRequest) -> int:
        asked = request.max_new_tokens
        return self.max_new_tokens if asked is None else asked

    def _run(
        self, rows: list[tuple[int, ...]], batch: list[GenerationRequest], length: int
    ) -> decode_lib.Decoded:
        """Runs one batch; filler rows may write 0 tokens, so they hold nobody up."""
        tokens_BT, lengths_B = batching.pad_rows(rows, self._batch_size, length)
        max_new_B = np.zeros((self._batch_size,), np.int32)
        max_new_B[: len(batch)] = [self._max_new(request) for request in batch]
        noise_ids_B3 = np.zeros((self._batch_size, 3), np.uint32)
        noise_ids_B3[: len(batch)] = sampling.noise_ids(
            [request.example_id for request in batch],
            [request.sample_index for request in batch],
        )
        eos_B = np.full((self._batch_size,), self._eos_id, np.int32)
        prompts = self._placement.put_batch(
            decode_lib.Prompts(tokens_BT, lengths_B, max_new_B, eos_B, noise_ids_B3)
        )
        key_data = self._placement.put_whole(self._key_data)
        with self._compilations.watch(), self._placement.activate():
            cache = self._prefill(self._params, prompts)
            decoded, _ = self._decode(self._params, cache, prompts, key_data)
        return jax.device_get(decoded)

    def _result(
        self,
        request: GenerationRequest,
        prompt_length: int,
        decoded: decode_lib.Decoded,
        index: int,
    ) -> GenerationResult:
        log_probability = float(decoded.log_probabilities_B[index])
        if not math.isfinite(log_probability):
            raise NonFiniteError(
                f"example {request.example_id!r}, sample {request.sample_index}: its "
                f"log-probability is {log_probability}, but it must be finite: the parameters or "
                "activations are not; look at the losses of the training run that wrote them."
            )
        finished = bool(decoded.finished_B[index])
        written = int(decoded.lengths_B[index]) - finished
        return GenerationResult(
            example_id=request.example_id,
            sample_index=request.sample_index,
            tokens=tuple(decoded.tokens_BN[index, :written].tolist()),
            finished=finished,
            log_probability=log_probability,
            prompt_length=prompt_length,
        )
