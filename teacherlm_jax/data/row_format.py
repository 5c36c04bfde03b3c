"""How examples become rows: seqio's decoder features, one example a row or several.

Shape legend: B rows, T positions, N examples of a table, S segments (the examples of some rows),
W their tokens, one after another; 2 (inputs, targets).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from teacherlm_jax.data import examples as examples_lib
from teacherlm_jax.data.examples import ExampleTable, TokenizedExample

LOSS_ON = ("targets", "all")
TOO_LONG = ("error", "drop", "trim")

COMPONENT_IDS = "decoder_component_ids"

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class UsableTable:
    """What a row format can use of a table.

    Attributes:
      table: the table, or a view of it.
      dropped: examples that were left out.
      trimmed: examples that were cut.
    """

    table: ExampleTable
    dropped: int = 0
    trimmed: int = 0


@dataclasses.dataclass(frozen=True)
class RowFormat:
    """How an example becomes a row.

    Attributes:
      length: positions T of a row.
      bos_id: token before the text, as seqio shifts targets right. None (BLOOM has no BOS): the
        first token is context alone and carries no loss.
      loss_on: "targets", or "all" for inputs and targets.
      too_long: what becomes of an example that is longer than a row: "error"; "drop", which leaves
        out examples without a token to learn from as well; or "trim", which keeps the last tokens.
      pack: several examples a row, each a segment with positions and BOS of its own.
    """

    length: int
    bos_id: int | None = 0
    loss_on: str = "targets"
    too_long: str = "error"
    pack: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("loss_on", LOSS_ON), ("too_long", TOO_LONG)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}, but it must be one of {allowed}."
                )
        if self.length < 1:
            raise ValueError(
                f"row length {self.length} must be at least 1: the stage's task_feature_lengths "
                "add up to it."
            )

    @property
    def room(self) -> int:
        """Tokens that an example of a row may have."""
        return self.length if self.bos_id is not None else self.length + 1

    def used_N(self, table: ExampleTable) -> np.ndarray:
        """Positions that each example takes, int64."""
        return table.lengths_N2.sum(axis=1, dtype=np.int64) - int(self.bos_id is None)

    def check(self, table: ExampleTable) -> None:
        """Checks that every example fits, before anything is compiled; reads none.

        Raises:
          ValueError: an example is empty, or longer than a row, where that is not to be dropped or
            trimmed.
        """
        if self.too_long == "drop":
            return
        tokens_N = table.lengths_N2.sum(axis=1, dtype=np.int64)
        is_wrong_N = self._nothing_to_learn_N(table)
        if self.too_long == "error":
            is_wrong_N = is_wrong_N | (tokens_N > self.room)
        if not is_wrong_N.any():
            return
        first = int(np.argmax(is_wrong_N))
        name, (inputs, targets) = table.example_id(first), table.lengths_N2[first].tolist()
        others = f" {int(is_wrong_N.sum())} of {len(table)} examples of {table.name} cannot be used"
        if targets == 0:
            raise ValueError(f"{name} has no target tokens; drop the example.{others}.")
        if not self._has_loss(inputs, targets):
            raise ValueError(
                f"{name} has one token alone, which nothing comes before, so it "
                f"carries no loss: drop the example, or set a bos_id.{others}."
            )
        raise ValueError(
            f"{name} has {inputs + targets} tokens (inputs {inputs}, targets {targets}), but a row "
            f"holds {self.room}: raise the stage's task_feature_lengths, shorten the example, or "
            f'set too_long to "drop" or "trim".{others}.'
        )

    def usable(self, table: ExampleTable) -> UsableTable:
        """The examples that can be trained on, cut where they are to be; reads none.

        Raises:
          ValueError: as `check`.
        """
        self.check(table)
        is_long_N = table.lengths_N2.sum(axis=1, dtype=np.int64) > self.room
        if self.too_long == "drop":
            is_kept_N = ~(is_long_N | self._nothing_to_learn_N(table))
            dropped = len(table) - int(is_kept_N.sum())
            if dropped:
                table = examples_lib.selected(table, np.flatnonzero(is_kept_N))
            return UsableTable(table, dropped=dropped)
        if not is_long_N.any():
            return UsableTable(table)
        return UsableTable(examples_lib.trimmed(table, self.room), trimmed=int(is_long_N.sum()))

    def arrays(self, examples: Sequence[TokenizedExample]) -> Arrays:
        """One example a row; see `row_arrays`."""
        return self.row_arrays([[example] for example in examples])

    def row_arrays(
        self,
        rows: Sequence[Sequence[TokenizedExample]],
        components: Sequence[Sequence[int]] | None = None,
    ) -> Arrays:
        """Rows of several examples or none, right-padded.

        Padding is known by segment id 0, never by token id. Segments are laid out as seqio's
        packing does: numbered from 1, each with its own positions and BOS.

        Args:
          rows: the examples of each row, in their order.
          components: a number for each of them, such as its place in a mixture.

        Returns:
          seqio's decoder features: decoder_input_tokens, decoder_target_tokens,
          decoder_segment_ids, decoder_positions (int32 [B, T]), decoder_loss_weights (float32);
          with components, decoder_component_ids (int32 [B, T], 0 on padding).

        Raises:
          ValueError: a row's examples do not fit into it.
        """
        examples = [example for row in rows for example in row]
        sizes_S = np.array([len(example) for example in examples], np.int64)
        inputs_S = np.array([len(example.inputs) for example in examples], np.int64)
        used_S = sizes_S - (self.bos_id is None)
        counts_B = np.array([len(row) for row in rows], np.int64)
        before_S = np.cumsum(used_S) - used_S
        # The first segment of each row, and how many tokens stand before it in all.
        first_B = np.cumsum(counts_B) - counts_B
        row_S = np.repeat(np.arange(len(rows)), counts_B)
        in_row_S = before_S - before_S[first_B[row_S]]
        self._check_rows_fit(in_row_S + used_S, examples)

        # Where a token stands in its segment, and where in the flat array of all rows.
        position_W = np.arange(used_S.sum()) - np.repeat(before_S, used_S)
        place_W = np.repeat(row_S * self.length + in_row_S, used_S) + position_W
        loss_from_S = np.zeros_like(inputs_S) if self.loss_on == "all" else inputs_S
        loss_from_S = np.maximum(loss_from_S - (self.bos_id is None), 0)
        decoder_inputs_W, decoder_targets_W = self._shifted(examples, sizes_S)
        values = {
            "decoder_input_tokens": decoder_inputs_W,
            "decoder_target_tokens": decoder_targets_W,
            "decoder_loss_weights": position_W >= np.repeat(loss_from_S, used_S),
            "decoder_segment_ids": np.repeat(np.arange(len(row_S)) - first_B[row_S] + 1, used_S),
            "decoder_positions": position_W,
        }
        if components is not None:
            flat = [number for row in components for number in row]
            values[COMPONENT_IDS] = np.repeat(np.array(flat, np.int64), used_S)
        arrays: Arrays = {}
        for name, values_W in values.items():
            dtype = np.float32 if name == "decoder_loss_weights" else np.int32
            array = np.zeros(len(rows) * self.length, dtype)
            array[place_W] = values_W
            arrays[name] = array.reshape(len(rows), self.length)
        return arrays

    def _shifted(
        self, examples: Sequence[TokenizedExample], sizes_S: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the decoder reads and what it is to say, [W] each."""
        parts = [part for example in examples for part in (example.inputs, example.targets)]
        tokens = np.concatenate([np.zeros(0, np.int32), *parts])
        ends = np.cumsum(sizes_S)
        if self.bos_id is None:
            return np.delete(tokens, ends - 1), np.delete(tokens, ends - sizes_S)
        read = np.empty_like(tokens)
        read[1:] = tokens[:-1]
        read[ends - sizes_S] = self.bos_id
        return read, tokens

    def _nothing_to_learn_N(self, table: ExampleTable) -> np.ndarray:
        return ~self._has_loss(table.lengths_N2[:, 0], table.lengths_N2[:, 1])

    def _has_loss(self, inputs: Any, targets: Any) -> Any:
        """Whether examples of these lengths have a token that carries loss."""
        least = 1 if self.bos_id is not None else 2
        return (targets > 0) & (inputs + targets >= least)

    def _check_rows_fit(self, ends_S: np.ndarray, examples: Sequence[TokenizedExample]) -> None:
        if len(ends_S) and ends_S.max() > self.length:
            worst = int(np.argmax(ends_S))
            raise ValueError(
                f"{examples[worst].example_id} ends at position {int(ends_S[worst])} of a row of "
                f"{self.length}: drop or trim what is too long (`usable`), and put fewer examples "
                "into a row."
            )
