"""A small TFDS data set of our own, prepared in a folder: all kinds of features, several files."""

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

COUNTS = {"train": 25, "validation": 7}
NAME = "tiny_rows:1.0.0"


def row(number):
    """What a row of this number is as JSON types."""
    return {
        "number": number,
        "text": f"é {number}",
        "label": number % 3,
        "score": number + 0.1,
        "flag": number % 2 == 0,
        "options": {
            "text": [f"o{one}" for one in range(number % 4)],
            "n": list(range(number % 4)),
        },
        "lists": [[1] * one for one in range(number % 3)],
    }


class TinyRows(tfds.core.GeneratorBasedBuilder):
    """Rows in the order of their numbers."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = epath.Path(__file__)  # As in `teacher_data_builder`.

    def _info(self):
        features = tfds.features
        return tfds.core.DatasetInfo(
            builder=self,
            features=features.FeaturesDict(
                {
                    "number": np.int64,
                    "text": features.Text(),
                    "label": features.ClassLabel(num_classes=3),
                    "score": np.float32,
                    "flag": np.bool_,
                    "options": features.Sequence({"text": features.Text(), "n": np.int64}),
                    "lists": features.Sequence(features.Sequence(np.int64)),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(count) for split, count in COUNTS.items()}

    def _generate_examples(self, count):
        for number in range(count):
            yield number, row(number)


class FlatRows(tfds.core.GeneratorBasedBuilder):
    """Rows of single values, some of which JSON lacks."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = epath.Path(__file__)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {"text": tfds.features.Text(), "score": np.float32, "big": np.int64}
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"text": "fine", "score": 4.2, "big": 2**63 - 1}
        yield 1, {"text": b"caf\xe9", "score": 1.0, "big": 1}
        yield 2, {"text": "no number", "score": float("nan"), "big": -(2**63)}


def prepare(folder):
    """Prepares both in a folder."""
    settings = tfds.download.DownloadConfig(num_shards=3)
    for builder in (TinyRows, FlatRows):
        builder(data_dir=str(folder)).download_and_prepare(download_config=settings)
