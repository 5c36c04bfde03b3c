"""What tasks over public data sets need to know of a run: the vocabulary, and where data lies."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import seqio

from teacherlm_jax.data import default_vocabulary

DATA_DIR_VARIABLE = "TEACHERLM_DATA_DIR"
"""Environment variable with the folder of mirrors, where `DataSetup` names none."""

ERROR, SKIP = "error", "skip"

# In the environment too, so that processes which this one starts do the same.
_MALFORMED_ROWS_VARIABLE = "TEACHERLM_MALFORMED_ROWS"
_REJECTS_DIR_VARIABLE = "TEACHERLM_REJECTS_DIR"


@dataclasses.dataclass(frozen=True)
class DataSetup:
    """Settings of the process that tasks read when their data is read.

    Attributes:
      vocabulary: of tasks that leave theirs open; None: they cannot be tokenized.
      data_dir: folder with mirrors (`NAME/manifest.json`) and TeacherData; None: as the variable
        TEACHERLM_DATA_DIR says, else ~/teacherlm_data.
      malformed_rows: what becomes of rows that cannot be used: "error", which names the row, or
        "skip", which leaves them out, counts them and logs the count.
      rejects_dir: folder where rows left out are kept, as TASK/*.rejects.jsonl with `where`,
        `reason` and `row`; None: they are counted alone.
      seqio_cache_dirs: folders of seqio's offline caches (`teacherlm data cache`), which are read
        where they hold a task.

    Raises:
      ValueError: malformed_rows is something else.
    """

    vocabulary: seqio.Vocabulary | None = None
    data_dir: str | None = None
    malformed_rows: str = ERROR
    rejects_dir: str | None = None
    seqio_cache_dirs: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.malformed_rows not in (ERROR, SKIP):
            raise ValueError(
                f"malformed_rows = {self.malformed_rows!r}, but it must be {ERROR!r}, which stops"
                f" at such a row, or {SKIP!r}, which leaves it out."
            )

    def apply(self) -> None:
        """Makes them hold for the process."""
        if self.vocabulary is not None:
            default_vocabulary.choose(self.vocabulary)
        if self.data_dir is not None:
            os.environ[DATA_DIR_VARIABLE] = self.data_dir
        os.environ[_MALFORMED_ROWS_VARIABLE] = self.malformed_rows
        os.environ[_REJECTS_DIR_VARIABLE] = self.rejects_dir or ""
        seqio.add_global_cache_dirs(self.seqio_cache_dirs)


def data_dir() -> str:
    """The folder with mirrors."""
    return os.environ.get(DATA_DIR_VARIABLE) or os.path.expanduser("~/teacherlm_data")


def skips_malformed_rows() -> bool:
    """Whether rows that cannot be used are left out, rather than an error."""
    return os.environ.get(_MALFORMED_ROWS_VARIABLE) == SKIP


def rejects_dir() -> str | None:
    """Where rows that are left out are kept; None: nowhere."""
    return os.environ.get(_REJECTS_DIR_VARIABLE) or None
