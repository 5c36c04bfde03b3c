"""A case for every data set of P3, and places where their tasks find rows: TFDS and mirrors."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterable, Iterator

import pytest

from teacherlm_jax.data import data_setup, mirror_writing, split_slices
from teacherlm_jax.data.raw_files import RawFileRow
from teacherlm_jax.tasks.catalogue.dataset import DATASETS
from teacherlm_jax.tasks.p3 import p3_sets
from tests.tasks import catalogue_rows, catalogue_rows_a, catalogue_rows_b, catalogue_rows_p3

CASES = {
    name: case
    for rows in (catalogue_rows_a, catalogue_rows_b, catalogue_rows_p3)
    for name, case in rows.CASES.items()
    if name in p3_sets.PARTS
}
HELD_OUT = 200
IN_TFDS = tuple(name for name in CASES if DATASETS[name].tfds is not None)


def write_mirror(folder: pathlib.Path, name: str, rows: Iterable[dict]) -> None:
    """A mirror of these rows, the same in every split that P3 reads, after those it holds out."""
    slices = p3_sets.splits(DATASETS[name]).values()
    texts = [json.dumps(row).encode() for row in rows]
    if any("[" in each for each in slices):
        texts += texts[:1] * HELD_OUT

    def begin() -> Iterator[RawFileRow]:
        return (RawFileRow(text, f"here:{place}") for place, text in enumerate(texts, start=1))

    whole = (split for each in slices for split in split_slices.splits_of(each))
    splits = dict.fromkeys(whole, begin)
    mirror_writing.write(folder / name, mirror_writing.Origin({"kind": "files"}, splits))


@contextlib.contextmanager
def given(folder: pathlib.Path, copies: int = 2) -> Iterator[None]:
    """Every data set of P3 has this many rows: in TFDS, else in mirrors below the folder."""
    for name, case in CASES.items():
        if name not in IN_TFDS and not (folder / name).exists():
            write_mirror(folder, name, [dict(case.hub)] * copies)
    with pytest.MonkeyPatch.context() as patch, catalogue_rows.mocked(CASES, copies):
        patch.setenv(data_setup.DATA_DIR_VARIABLE, str(folder))
        yield
