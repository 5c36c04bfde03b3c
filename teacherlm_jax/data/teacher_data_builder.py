"""The TFDS builder `teacher_data`: TeacherData prepared from a manual directory.

    import tensorflow_datasets as tfds
    from teacherlm_jax.data import teacher_data_builder  # registers it

    settings = tfds.download.DownloadConfig(manual_dir="gs://bucket/teacherdata")
    builder = tfds.builder("teacher_data", data_dir="gs://bucket/tfds")
    builder.download_and_prepare(download_config=settings)
    tfds.load("teacher_data", data_dir="gs://bucket/tfds", split="train")

The directory holds JSON lines or Parquet as `record_source.TeacherDataSource` finds them, in itself
or in a folder `teacher_data`. Importing this module registers the builder and reads nothing; tasks
import it when TFDS's data is asked for, and not before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from teacherlm_jax.data import ledger, record_source

_SPLITS = ("train", "validation", "test")
_BYTES_AT_ONCE = 2**20


class TeacherData(tfds.core.GeneratorBasedBuilder):
    """Questions with answer, fundamentals, chain of thought and common mistakes."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The record of teacherlm_jax.data.records."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The manual directory, or a folder `teacher_data` in it, must hold train.jsonl or"
        " train.parquet, or such files in a folder train/; other splits (validation, test)"
        " likewise. Rows are TeacherData records: `teacherlm data import` makes them of human"
        " annotations, `teacherlm annotate` of a teacher's."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text
        names = ("id", "question", "answer", "fundamentals", "chain_of_thought", "common_mistakes")
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Questions of NLP tasks, each with its answer and up to three explanations:"
                " fundamentals, chain of thought, common mistakes. Choices are empty where the"
                " answer is open. Provenance is JSON: for each explanation who wrote it, and how."
            ),
            features=tfds.features.FeaturesDict(
                {
                    **{name: text() for name in names},
                    "choices": tfds.features.Sequence(text()),
                    **{name: text() for name in ("task", "split", "provenance")},
                }
            ),
            citation=(
                "@article{he2023teacherlm, title={TeacherLM: Teaching to Fish Rather Than Giving"
                " the Fish, Language Modeling Likewise}, author={He, Nan and others},"
                " journal={arXiv:2310.19019}, year={2023}}"
            ),
            # Rows keep the order of the files.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict({"files": {}}),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        """Finds the splits, and notes size and SHA-256 of every file in `info.metadata`."""
        source = record_source.TeacherDataSource(str(_folder(dl_manager.manual_dir)), _SPLITS)
        found = {}
        for split in _SPLITS:
            try:
                found[split] = source.find(split)
            except FileNotFoundError:
                if split == _SPLITS[0]:
                    raise
        self.info.metadata["files"] = {
            split: [_fingerprint(file) for file in files] for split, files in found.items()
        }
        return {split: self._generate_examples(source, split) for split in found}

    def _generate_examples(
        self, source: record_source.TeacherDataSource, split: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        index = -1
        for index, record in enumerate(source.records(split)):
            yield index, record.to_features()
        if index < 0:
            raise ValueError(
                f"the files of the split {split!r} in {source.path} hold no rows: write them, or"
                " take them out."
            )


def _folder(manual_dir: Any) -> epath.Path:
    inner = epath.Path(manual_dir) / TeacherData.name
    return inner if inner.is_dir() else epath.Path(manual_dir)


def _fingerprint(file: epath.Path) -> dict[str, Any]:
    """Name, size and SHA-256 of a file, compared with its completion marker where it has one.

    Raises:
        ledger.TornFileError: the file is not what its marker says.
    """
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while block := stream.read(_BYTES_AT_ONCE):
            digest.update(block)
            size += len(block)
    marker = ledger.marker_path(file)
    found = {"size": size, "sha256": digest.hexdigest()}
    try:
        is_other = marker.exists() and json.loads(marker.read_bytes()) != found
    except ValueError:  # The marker itself is damaged.
        is_other = True
    if is_other:
        raise ledger.TornFileError(
            f"{file} is not what its marker {marker.name!r} says: copy or write both again."
        )
    return {"name": file.name, **found}
