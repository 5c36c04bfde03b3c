"""What tasks over public data sets need to know of a run: the vocabulary, and where data lies."""

from __future__ import annotations

import dataclasses
import os

import seqio

from teacherlm_jax.data import default_vocabulary

DATA_DIR_VARIABLE = "TEACHERLM_DATA_DIR"
"""Environment variable with the folder of mirrors, where `DataSetup` names none."""


@dataclasses.dataclass(frozen=True)
class DataSetup:
    """Settings of the process that tasks read when their data is read.

    Attributes:
      vocabulary: of tasks that leave theirs open; None: they cannot be tokenized.
      data_dir: folder with mirrors (`NAME/manifest.json`) and TeacherData; None: as the variable
        TEACHERLM_DATA_DIR says, else ~/teacherlm_data.
    """

    vocabulary: seqio.Vocabulary | None = None
    data_dir: str | None = None

    def apply(self) -> None:
        """Makes them hold for the process."""
        if self.vocabulary is not None:
            default_vocabulary.choose(self.vocabulary)
        if self.data_dir is not None:
            os.environ[DATA_DIR_VARIABLE] = self.data_dir


def data_dir() -> str:
    """The folder with mirrors."""
    return os.environ.get(DATA_DIR_VARIABLE) or os.path.expanduser("~/teacherlm_data")
