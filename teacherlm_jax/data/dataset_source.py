"""A seqio data source over a mirror on disk, or over TFDS: raw rows as JSON.

See `row_rendering` for what an element holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from absl import logging

from teacherlm_jax.data import (
    mirror,
    prepared_tfds,
    seeded_order,
    split_slices,
    tfds_preparation,
    whole_numbers,
)
from teacherlm_jax.data.row_rendering import Row
from teacherlm_jax.data.row_source import RowSource

# Public tables count some sets a little differently from what their files hold.
_COUNTS_MAY_DIFFER = 0.05

_told: set[str] = set()


class MissingDataError(ValueError):
    """The rows of a data set are not here; says how to get them."""


class DatasetSource(RowSource):
    """Rows of a data set: of its mirror where there is one, else of TFDS.

    Nothing is downloaded. The rows are the same in the same order whenever they are read.
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[str, str],
        *,
        tfds: str | None = None,
        hub: str | None = None,
        manual: str | None = None,
        counts: Mapping[str, int] | None = None,
        max_examples: Mapping[str, int] | None = None,
        cap_seed: int = 0,
        cap_name: str | None = None,
        keep: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Makes a source; looks at no file.

        Args:
          name: of the mirror's folder.
          splits: seqio's split -> the source's split, or a slice of it such as "train[:-200]".
          tfds: name with config and version; None: TFDS has none.
          hub: where the files for a mirror can be had, for the error that says so.
          manual: which files TFDS needs fetched by hand, and where they go.
          counts: rows of the source's whole splits as public tables have them.
          max_examples: seqio's split -> most rows: a fixed part, chosen by the seed, the name, and
            the rows' places alone. A smaller part is part of a larger one.
          cap_seed: decides which rows.
          cap_name: what is hashed with the seed; None: the name.
          keep: told a row's JSON, whether the task may want it: the others never reach TensorFlow,
            which costs more than to read them. It is asked after the cap; None: every row.

        Raises:
          ValueError: a slice is none, a cap is no whole number above 0 or of a split that there is
            not, the seed is no whole number from 0 on, or the name is no folder's.
        """
        super().__init__(splits=tuple(splits))
        self.name, self.tfds, self.hub, self.manual = name, tfds, hub, manual
        self.counts, self.slices = dict(counts or {}), dict(splits)
        self.max_examples = dict(max_examples or {})
        self._cap_seed, self._cap_name = cap_seed, cap_name or name
        self.keep = keep
        for spec in self.slices.values():
            split_slices.splits_of(spec)
        whole_numbers.check_whole(name, 0, cap_seed=cap_seed)
        for split, most in self.max_examples.items():
            whole_numbers.check_whole(name, 1, **{f"max_examples[{split!r}]": most})
            self._check_split(split)
        mirror.folder_of(name)  # Raises where there can be none.

    def num_input_examples(self, split: str) -> int | None:
        """Rows of a split after its cap, counted by the mirror, else TFDS, else the public tables.

        Reads no row. None: none of them knows, or `keep` leaves rows out.
        """
        self._check_split(split)
        if self.keep is not None:
            return None
        found = mirror.find(self.name)
        if found is not None:
            rows: int | None = found.count(self.slices[split])
        else:
            counts = self.counts
            if self.tfds is not None and prepared_tfds.is_prepared(self.tfds):
                counts = {**counts, **prepared_tfds.counts(self.tfds)}
            rows = split_slices.count(self.slices[split], counts)
        most = self.max_examples.get(split)
        return rows if rows is None or most is None else min(rows, most)

    def _check_split(self, split: str) -> None:
        if split not in self.slices:
            raise ValueError(
                f"{self.name!r} has no split {split!r}; it has {', '.join(self.slices)}."
            )

    def reader(self, split: str) -> Callable[[], Iterator[Row]]:
        """What reads the rows of a split.

        Raises:
          MissingDataError: the rows are not here; says how to get them.
          ValueError: there is no such split.
        """
        self._check_split(split)
        spec = self.slices[split]
        found = mirror.find(self.name)
        if found is not None:
            self._compare_counts(split, found.counts, f"the mirror {found.folder}")
            rows_of_slice = found.count(spec)
            if not rows_of_slice:
                raise mirror.MirrorError(
                    f"{spec!r} of the mirror {found.folder} has no rows; its splits have"
                    f" {dict(found.counts)}: mirror more rows, or name another split or slice."
                )
            chosen = self._chosen(split, rows_of_slice)
            return lambda: self._kept(found.rows(spec, chosen))
        rows = self._prepared(split)
        self._compare_counts(split, rows.whole_counts, f"TFDS {self.tfds}")
        chosen = self._chosen(split, rows.count) if split in self.max_examples else None
        where = f"{self.tfds} {split}"
        return lambda: self._kept(
            (row, index, f"{where}:{index}") for row, index in rows.read(chosen)
        )

    def _kept(self, rows: Iterator[Row]) -> Iterator[Row]:
        keep = self.keep
        return rows if keep is None else (row for row in rows if keep(row[0]))

    def _prepared(self, split: str) -> prepared_tfds.PreparedRows:
        try:
            if self.tfds is not None:
                return prepared_tfds.PreparedRows(self.tfds, self.slices[split])
        except prepared_tfds.NotPreparedError as error:
            raise MissingDataError(self.how_to_get(str(error))) from None
        raise MissingDataError(self.how_to_get(""))

    def _chosen(self, split: str, rows: int) -> np.ndarray | None:
        """Places of the rows that the cap leaves, rising; None: all."""
        most = self.max_examples.get(split)
        if most is None or most >= rows:
            return None
        return seeded_order.named_sample(rows, most, self._cap_seed, self._cap_name)

    def _compare_counts(self, split: str, found: Mapping[str, int], where: str) -> None:
        for whole in split_slices.splits_of(self.slices[split]):
            told, here = self.counts.get(whole), found.get(whole)
            if told is None or here is None or abs(told - here) <= _COUNTS_MAY_DIFFER * told:
                continue
            text = (
                f"{self.name}: split {whole!r} has {here} rows in {where}, but the tables, from"
                f" which mixing rates come, say {told}."
            )
            if text not in _told:
                _told.add(text)
                logging.warning("%s", text)

    def how_to_get(self, reason: str) -> str:
        """What to do where the rows are not here, for an error."""
        folder = mirror.folder_of(self.name)
        ways = []
        if self.tfds is not None:
            how = [
                *tfds_preparation.needs(self.tfds, self.manual),
                f"teacherlm data mirror {self.name} --prepare --to {folder}",
            ]
            ways.append("\n      ".join(["let TFDS download and prepare it:", *how]))
        if self.hub is not None:
            ways.append(
                f"fetch the files of {self.hub!r} from the Hugging Face hub, and mirror them:"
            )
        else:
            ways.append("mirror files that you have:")
        ways[-1] += f"\n      teacherlm data mirror {self.name} --from FOLDER --to {folder}"
        why = f"; {reason}" if reason else ""
        text = "\n  - ".join(
            [f"{self.name!r} is not here: there is no mirror in {str(folder)!r}{why}.", *ways]
        )
        return (
            f"{text}\nMirrors elsewhere: set TEACHERLM_DATA_DIR, --data_dir or DataSetup.data_dir."
        )
