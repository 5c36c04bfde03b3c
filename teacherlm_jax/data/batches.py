"""Step -> (example ids, arrays): the one interface through which training data comes.

Which rows a step sees is a pure function of the seed and the step. It does not depend on what
was read before, on the number of hosts or on a restart, so nothing needs to be saved to resume.

Shape legend: B batch, T positions.
"""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Protocol

import grain
import numpy as np

LOSS_ON = ("targets", "all")

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class TokenizedExample:
    """One example as token ids.

    Attributes:
      example_id: names the row in errors and ledgers.
      inputs: int32 ids that carry no loss; may be empty.
      targets: int32 ids that carry loss; EOS included where the task adds one.
    """

    example_id: str
    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs) + len(self.targets)


@dataclasses.dataclass(frozen=True)
class ExampleTable:
    """The examples of one task, randomly addressable."""

    name: str
    examples: Sequence[TokenizedExample]


def tables_digest(tables: Sequence[ExampleTable], rates: Sequence[float]) -> str:
    """SHA-256 (hex) over the token ids of tables and their rates: names a data set by content."""
    total = hashlib.sha256()
    for table, rate in zip(tables, rates, strict=True):
        total.update(f"{len(table.examples)} {rate!r}\n".encode())
        for example in table.examples:
            total.update(f"{len(example.inputs)} {len(example.targets)}\n".encode())
            total.update(example.inputs.astype("<i4").tobytes())
            total.update(example.targets.astype("<i4").tobytes())
    return total.hexdigest()


class Batches(Protocol):
    """What the loop trains on."""

    def __call__(self, step: int) -> tuple[list[str], Arrays]:
        """Ids and arrays of a step's rows; the same for the same step, always."""


@dataclasses.dataclass(frozen=True)
class RowFormat:
    """How an example becomes a row.

    Attributes:
      length: positions T of a row.
      bos_id: token before the text, as seqio shifts targets right. None (BLOOM has no BOS): the
        first token is context alone and carries no loss.
      loss_on: "targets", or "all" for inputs and targets.
    """

    length: int
    bos_id: int | None = 0
    loss_on: str = "targets"

    def __post_init__(self) -> None:
        if self.loss_on not in LOSS_ON:
            raise ValueError(f"loss_on = {self.loss_on!r}, but it must be one of {LOSS_ON}.")
        if self.length < 1:
            raise ValueError(
                f"row length {self.length} must be at least 1: the stage's task_feature_lengths "
                "add up to it."
            )

    def check(self, table: ExampleTable) -> None:
        """Checks that every example fits, before anything is compiled.

        Raises:
          ValueError: an example is empty, or longer than a row.
        """
        room = self.length if self.bos_id is not None else self.length + 1
        for example in table.examples:
            if len(example.targets) == 0:
                raise ValueError(f"{example.example_id} has no target tokens; drop the example.")
            if self.bos_id is None and len(example) == 1:
                raise ValueError(
                    f"{example.example_id} has one token alone, which nothing comes before, so it "
                    "carries no loss: drop the example, or set a bos_id."
                )
            if len(example) > room:
                raise ValueError(
                    f"{example.example_id} has {len(example)} tokens (inputs "
                    f"{len(example.inputs)}, targets {len(example.targets)}), but a row holds "
                    f"{room}: raise the stage's task_feature_lengths or shorten the example."
                )

    def arrays(self, examples: Sequence[TokenizedExample]) -> Arrays:
        """One example a row, right-padded; padding is known by segment id 0, never by token id.

        Returns:
          seqio's decoder features: decoder_input_tokens, decoder_target_tokens,
          decoder_segment_ids, decoder_positions (int32 [B, T]), decoder_loss_weights (float32).
        """
        shape = (len(examples), self.length)
        rows: Arrays = {
            "decoder_input_tokens": np.zeros(shape, np.int32),
            "decoder_target_tokens": np.zeros(shape, np.int32),
            "decoder_loss_weights": np.zeros(shape, np.float32),
            "decoder_segment_ids": np.zeros(shape, np.int32),
            "decoder_positions": np.zeros(shape, np.int32),
        }
        for row, example in enumerate(examples):
            tokens = np.concatenate([example.inputs, example.targets])
            first_loss = 0 if self.loss_on == "all" else len(example.inputs)
            if self.bos_id is None:
                shifted, tokens = tokens[:-1], tokens[1:]
                first_loss = max(first_loss - 1, 0)
            else:
                shifted = np.concatenate([[self.bos_id], tokens[:-1]])
            used = len(tokens)
            rows["decoder_input_tokens"][row, :used] = shifted
            rows["decoder_target_tokens"][row, :used] = tokens
            rows["decoder_loss_weights"][row, first_loss:used] = 1.0
            rows["decoder_segment_ids"][row, :used] = 1
            rows["decoder_positions"][row, :used] = np.arange(used)
        return rows


def _shuffle_seed(seed: int, table: int) -> int:
    """A seed far from those of other seeds and tables.

    grain shuffles epoch e with seed + e, so neighbouring seeds would share all orders but one.
    """
    return int(np.random.SeedSequence([seed, table]).generate_state(1)[0])


class MixtureBatches:
    """Batches from a weighted mixture of tables.

    Each table is shuffled anew every epoch and repeated without end; tables take turns in the
    proportion of their rates. Two mixtures with the same rates and seed draw the same rows from
    the tables that they share, at the same steps.
    """

    def __init__(
        self,
        tables: Sequence[ExampleTable],
        rates: Sequence[float],
        row_format: RowFormat,
        batch_size: int,
        seed: int,
    ) -> None:
        """See the class.

        Raises:
          ValueError: no tables, an empty table, a rate not above 0, or an example that is longer
            than a row.
        """
        if not tables or len(tables) != len(rates):
            raise ValueError(f"a mixture of {len(tables)} tables got {len(rates)} rates.")
        for table, rate in zip(tables, rates, strict=True):
            if not table.examples:
                raise ValueError(f"{table.name} has no examples; leave it out of the mixture.")
            if not 0 < rate < math.inf:
                raise ValueError(
                    f"{table.name} has rate {rate}, but rates must be finite and above 0."
                )
            row_format.check(table)
        self._row_format = row_format
        self._batch_size = batch_size
        total = sum(rates)
        datasets = [
            grain.MapDataset.source(table.examples)
            .shuffle(seed=_shuffle_seed(seed, index))
            .repeat()
            for index, table in enumerate(tables)
        ]
        self._mixed = grain.MapDataset.mix(datasets, [rate / total for rate in rates])

    def __call__(self, step: int) -> tuple[list[str], Arrays]:
        """The rows of a step; see `Batches`."""
        first = step * self._batch_size
        examples = [self._mixed[first + row] for row in range(self._batch_size)]
        return [example.example_id for example in examples], self._row_format.arrays(examples)


class ReplicaBatches:
    """Batches of several independent runs stacked on a leading axis, for students in parallel."""

    def __init__(self, replicas: Sequence[Batches]) -> None:
        self._replicas = replicas

    def __call__(self, step: int) -> tuple[list[str], Arrays]:
        """Arrays [replica, B, T]; ids in the same order, flattened."""
        parts = [batches(step) for batches in self._replicas]
        ids = [example_id for part_ids, _ in parts for example_id in part_ids]
        names = parts[0][1]
        return ids, {name: np.stack([arrays[name] for _, arrays in parts]) for name in names}
