"""Log-likelihood of options after a prompt, as a pure function.

A row holds a prompt, then its options side by side, each a segment of its own that sees the prompt
and itself, with positions that go on from the prompt's. So one forward pass serves all options,
however many and however long, and logits are computed at the positions that count and nowhere else:
options of one token, such as letters, need those of the prompt's last token alone. Questions whose
prompts begin alike, as with the same few-shot examples, can stand in one row: what they share once,
then each with its options.

Shape legend: B rows, T positions, P positions whose predictions are read, C of them in
a chunk, K scored tokens, O options, D width of what logits are a projection of, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.scoring.split import Split

Array = jax.Array | np.ndarray

# Segments are numbered as they come: what all see first, then each question before its options.
_SEEN_BY_ALL = np.iinfo(np.int32).max

# Logits that exist at a time on one device.
CHUNK_LOGITS = 2**26


class Rows(NamedTuple):
    """A batch of rows; what is padding has segment 0 and option -1.

    Attributes:
      tokens_BT: int32.
      segment_ids_BT: int32.
      seen_until_BT: int32, the last segment that sees each token.
      positions_BT: int32, within the question.
      places_BP: int32, where predictions are read.
      scored_BK: int32, the tokens whose likelihood is asked for.
      read_at_BK: int32, which of the P predictions each of them is compared with.
      option_of_BK: int32, the option each of them belongs to, of all of the row's.
    """

    tokens_BT: Array
    segment_ids_BT: Array
    seen_until_BT: Array
    positions_BT: Array
    places_BP: Array
    scored_BK: Array
    read_at_BK: Array
    option_of_BK: Array


class OptionScores(NamedTuple):
    """What became of a batch.

    Attributes:
      log_likelihoods_BO: float32, summed over each option's tokens; 0 for options that are none.
      is_greedy_BO: whether each of the option's tokens has the largest logit, or ties with it.
    """

    log_likelihoods_BO: Array
    is_greedy_BO: Array


class RowSize(NamedTuple):
    """What a row needs.

    Attributes:
      positions: T.
      places: P.
      options: O, of all its questions.
    """

    positions: int
    places: int
    options: int

    @property
    def scored(self) -> int:
        """K: the first token of every option is read at its prompt's end, the others each at one.

        Enough for rows with fewer options and more places, too.
        """
        return self.places - 1 + self.options


class Row(NamedTuple):
    """Questions in one row.

    Attributes:
      questions: one, or several whose contexts begin alike.
      shared: tokens with which all their contexts begin: of one alone, all that it has.
    """

    questions: tuple[Split, ...]
    shared: int

    @property
    def size(self) -> RowSize:
        """What it needs: the last token of an option predicts nothing."""
        own = sum(len(question.context) - self.shared for question in self.questions)
        options = [option for question in self.questions for option in question.options]
        continued = sum(len(option) - 1 for option in options)
        return RowSize(self.shared + own + continued, len(self.questions) + continued, len(options))


def row_of(question: Split) -> Row:
    """The row of a question alone."""
    return Row((question,), len(question.context))


def make_rows(rows: Sequence[Row], batch_size: int, size: RowSize) -> Rows:
    """Rows as arrays.

    Args:
      rows: at most `batch_size`, none larger than `size` in anything.
      batch_size: B.
      size: of the rows.
    """
    shapes = [size.positions] * 4 + [size.places] + [size.scored] * 3
    arrays = Rows(*(np.zeros((batch_size, width), np.int32) for width in shapes))
    arrays.option_of_BK[...] = -1
    for b, row in enumerate(rows):
        _Writer(Rows(*(array[b] for array in arrays))).write(row)
    return arrays


class _Writer:
    """Writes a row from left to right."""

    def __init__(self, arrays: Rows):
        self._arrays = arrays
        self._end, self._segment, self._place, self._scored, self._option = 0, 0, 0, 0, 0

    def write(self, row: Row) -> None:
        self._tokens(row.questions[0].context[: row.shared], 0, _SEEN_BY_ALL)
        shared_end = self._end
        for question in row.questions:
            own = question.context[row.shared :]
            continued = sum(len(option) > 1 for option in question.options)
            self._tokens(own, row.shared, self._segment + 1 + continued)
            prompt_end = (self._end if own else shared_end) - 1
            self._options(question.options, len(question.context), prompt_end)

    def _tokens(self, tokens: Sequence[int], position: int, seen_until: int) -> None:
        """A segment, if there is anything in it."""
        if not tokens:
            return
        self._segment += 1
        own = slice(self._end, self._end + len(tokens))
        self._arrays.tokens_BT[own] = tokens
        self._arrays.segment_ids_BT[own] = self._segment
        self._arrays.seen_until_BT[own] = seen_until
        self._arrays.positions_BT[own] = position + np.arange(len(tokens))
        self._end = own.stop

    def _options(self, options: Sequence[Sequence[int]], position: int, prompt_end: int) -> None:
        """The options of a question, which all begin with what the prompt's end predicts."""
        arrays, first = self._arrays, self._place
        arrays.places_BP[first] = prompt_end
        self._place += 1
        for option in options:
            more = len(option) - 1
            place, scored = self._place, self._scored
            arrays.places_BP[place : place + more] = self._end + np.arange(more)
            self._tokens(option[:-1], position, self._segment + 1)
            own = slice(scored, scored + more + 1)
            arrays.scored_BK[own] = option
            arrays.read_at_BK[own] = [first, *range(place, place + more)]
            arrays.option_of_BK[own] = self._option
            self._place, self._scored = place + more, own.stop
            self._option += 1


def score(params: Any, model: Decoder, rows: Rows, options: int) -> OptionScores:
    """Scores all options of a batch in one forward pass.

    Args:
      params: the model's parameters.
      model: the decoder.
      rows: the batch.
      options: O.
    """
    # Where one prompt is all that a row holds, nothing but padding comes after it.
    is_prompt_alone = rows.places_BP.shape[1] == 1
    hidden_BTD = model.clone(return_hidden=True).apply(
        {"params": params},
        rows.tokens_BT,
        decoder_segment_ids=None if is_prompt_alone else rows.segment_ids_BT,
        decoder_positions=rows.positions_BT,
        decoder_seen_until=None if is_prompt_alone else rows.seen_until_BT,
        enable_dropout=False,
    )
    hidden_BPD = jnp.take_along_axis(hidden_BTD, jnp.asarray(rows.places_BP)[..., None], axis=1)
    values_BK, is_best_BK = _predictions(hidden_BPD, model.output_table(params), rows)
    is_of_BKO = jnp.asarray(rows.option_of_BK)[..., None] == jnp.arange(options)
    return OptionScores(
        jnp.sum(jnp.where(is_of_BKO, values_BK[..., None], 0.0), axis=1),
        jnp.all(is_best_BK[..., None] | ~is_of_BKO, axis=1),
    )


def _predictions(
    hidden_BPD: jax.Array, table_VD: jax.Array, rows: Rows
) -> tuple[jax.Array, jax.Array]:
    """Log-likelihood of each scored token [B, K], and whether none is likelier."""
    table_VD = nn.with_logical_constraint(
        table_VD.astype(hidden_BPD.dtype), ("activation_vocab", "activation_embed")
    )
    batch, places, _ = hidden_BPD.shape
    chunk = _chunk_places(batch, places, table_VD.shape[0])
    found = []
    for start in range(0, places, chunk):
        logits_BCV = jnp.einsum(
            "BCD,VD->BCV",
            hidden_BPD[:, start : start + chunk],
            table_VD,
            preferred_element_type=jnp.float32,
        )
        logits_BCV = nn.with_logical_constraint(
            logits_BCV, ("activation_batch", "activation_length", "activation_vocab")
        )
        at_BK = rows.read_at_BK - start
        is_here_BK = (at_BK >= 0) & (at_BK < logits_BCV.shape[1])
        at_BK = jnp.clip(at_BK, 0, logits_BCV.shape[1] - 1)
        batch_B1 = jnp.arange(batch)[:, None]
        logits_BK = logits_BCV[batch_B1, at_BK, rows.scored_BK]
        best_BC = jnp.max(logits_BCV, axis=-1)
        log_z_BC = best_BC + jnp.log(jnp.sum(jnp.exp(logits_BCV - best_BC[..., None]), axis=-1))
        values_BK = logits_BK - jnp.take_along_axis(log_z_BC, at_BK, axis=1)
        is_best_BK = logits_BK >= jnp.take_along_axis(best_BC, at_BK, axis=1)
        found.append((jnp.where(is_here_BK, values_BK, 0.0), is_here_BK & is_best_BK))
    values, are_best = zip(*found)
    return sum(values[1:], values[0]), jnp.any(jnp.stack(are_best), axis=0)


def _chunk_places(batch: int, places: int, vocab_size: int) -> int:
    """Positions of a row whose logits are computed at a time."""
    rows = batch // rules_lib.active_shards("activation_batch", batch)
    columns = vocab_size // rules_lib.active_shards("activation_vocab", vocab_size)
    return min(places, max(1, CHUNK_LOGITS // (rows * columns)))
