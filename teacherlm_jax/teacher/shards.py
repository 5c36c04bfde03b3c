"""The output folder of an annotation run: shards written whole and then marked, and a manifest.

The rows to annotate are cut into shards of a fixed number of rows, whatever the batch size and the
number of hosts, so that any run with the same configuration continues any other:

    configuration.json                       what decides the annotations; written first
    annotation-00003-of-00010.jsonl          TeacherData records of one shard
    annotation-00003-of-00010.rejects.jsonl  rows or explanations left out, with reasons, if any
    manifest.json                            configuration, counts and shards; written last

Each file has its completion marker (`data.ledger`) beside it. A process killed at any moment loses
no finished shard and repeats none. `data.records.read_jsonl(folder)` reads a finished folder.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data import claim, ledger, records
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.teacher import prompts

MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 1
MAX_SHARDS = 99_999  # Five digits stand in the names.


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """How rows are cut into shards: shard i holds rows [i * rows_per_shard, ...).

    Attributes:
        num_rows: rows to annotate, at least 1.
        rows_per_shard: rows of every shard but the last.
    """

    num_rows: int
    rows_per_shard: int = 256

    def __post_init__(self) -> None:
        if self.num_rows < 1 or self.rows_per_shard < 1:
            raise ValueError(
                f"there are {self.num_rows} rows to annotate in shards of {self.rows_per_shard};"
                " both must be at least 1. Check that the task and the split hold questions."
            )
        if self.num_shards > MAX_SHARDS:
            raise ValueError(
                f"{self.num_rows} rows in shards of {self.rows_per_shard} make {self.num_shards}"
                f" shards; at most {MAX_SHARDS} have names. Raise rows_per_shard to"
                f" {-(-self.num_rows // MAX_SHARDS)} or more."
            )

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return -(-self.num_rows // self.rows_per_shard)

    def rows(self, shard: int) -> range:
        """Returns the numbers of a shard's rows."""
        self._check_shard(shard)
        first = shard * self.rows_per_shard
        return range(first, min(first + self.rows_per_shard, self.num_rows))

    def name(self, shard: int) -> str:
        """Returns the file name of a shard's records."""
        self._check_shard(shard)
        return f"annotation-{shard:05d}-of-{self.num_shards:05d}.jsonl"

    def rejects_name(self, shard: int) -> str:
        """Returns the file name of a shard's rejects."""
        return self.name(shard).removesuffix(".jsonl") + ".rejects.jsonl"

    def _check_shard(self, shard: int) -> None:
        if not 0 <= shard < self.num_shards:
            raise ValueError(f"shard is {shard}; it must be 0 to {self.num_shards - 1}.")


@dataclasses.dataclass(frozen=True)
class Reject:
    """A row, or one explanation of a row, that was left out.

    Attributes:
        id: id of the row's record.
        reason: why, in words that repeat from row to row, for they are counted.
        field: the explanation's field; "" where the whole row was left out.
        text: the text that was left out, if there is one.
    """

    id: str
    reason: str
    field: str = ""
    text: str = ""


class AnnotationFolder:
    """An output folder of one annotation configuration.

    Opening it writes `configuration.json`, so that a folder of another configuration, or one that
    cannot be written to, is found out before any work.

    Args:
        folder: the output folder; made if it does not exist.
        configuration: all that decides what the annotations are (task, split, prompts, sampling,
            seed, checkpoint digest, condition_on_answer), as JSON values. Batch size and number of
            hosts do not belong here.
        row_ids: record ids of the rows to annotate, in order, each once.
        rows_per_shard: rows of a shard.

    Attributes:
        plan: the cut into shards.
        configuration: as given, with what this class adds to it.

    Raises:
        claim.ConfigurationMismatchError: the folder holds annotations of another configuration.
        ValueError: ids stand twice, or the configuration is not JSON.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        configuration: Mapping[str, Any],
        row_ids: Sequence[str],
        rows_per_shard: int = 256,
    ):
        self.folder = epath.Path(folder)
        self.plan = ShardPlan(len(row_ids), rows_per_shard)
        self._row_ids = list(row_ids)
        self.configuration: dict[str, Any] = _as_json(
            {
                **configuration,
                "rows": len(row_ids),
                "rows_per_shard": rows_per_shard,
                "row_ids_digest": _digest("\n".join(_check_unique(row_ids))),
                "format": FORMAT_VERSION,
            }
        )
        self._claim_folder()

    def pending(self) -> list[int]:
        """Returns the shards that are not written yet."""
        # Asked of each file, not of a listing: file systems over object stores cache listings.
        return [
            shard
            for shard in range(self.plan.num_shards)
            if not ledger.is_complete(self.folder / self.plan.name(shard))
        ]

    def write_shard(
        self,
        shard: int,
        annotated: Sequence[records.TeacherDataRecord],
        rejects: Sequence[Reject] = (),
    ) -> epath.Path:
        """Writes a shard's records and rejects.

        Args:
            shard: number of the shard.
            annotated: the records, in the order of the rows; rows left out whole are missing.
            rejects: what was left out. A row may have both a record and rejects of single fields.

        Returns:
            Path of the records.

        Raises:
            ValueError: rows are missing, strange or out of order.
            ledger.AlreadyWrittenError: the shard is complete and holds other records.
        """
        self._check_rows(shard, annotated, rejects)
        path = self.folder / self.plan.name(shard)
        content = records.encode_jsonl(annotated)
        if not ledger.is_complete(path):
            # Rejects first: the marker of the records completes the shard. What a killed process
            # left of the rejects belongs to no complete shard, so it may go.
            rejects_path = self.folder / self.plan.rejects_name(shard)
            ledger.remove(rejects_path)
            if rejects:
                ledger.write_whole(rejects_path, _encode_rejects(rejects))
        return ledger.write_whole(path, content)

    def read_shard(self, shard: int) -> list[records.TeacherDataRecord]:
        """Returns the records of a complete shard; raises as `ledger.read_whole`."""
        path = self.folder / self.plan.name(shard)
        if not ledger.is_complete(path):
            ledger.read_whole(path)  # Raises, and says what is wrong.
        return list(records.read_jsonl(path))

    def read_rejects(self, shard: int) -> list[Reject]:
        """Returns the rejects of a complete shard."""
        path = self.folder / self.plan.rejects_name(shard)
        if not ledger.is_complete(path):
            return []
        return [Reject(**json.loads(line)) for line in ledger.read_whole(path).splitlines()]

    def finish(self) -> dict[str, Any]:
        """Reads all shards, verifying them, writes the manifest and returns it.

        To be called by one host once all hosts are done; a second call returns the same manifest.

        Raises:
            ValueError: shards are pending.
            ledger.TornFileError: a shard was damaged since it was written.
        """
        if pending := self.pending():
            names = ", ".join(self.plan.name(shard) for shard in pending[:5])
            more = ", ..." if len(pending) > 5 else ""
            raise ValueError(
                f"{len(pending)} of {self.plan.num_shards} shards in {str(self.folder)!r} are not"
                f" written yet ({names}{more}). Run the annotation again; it continues there."
            )
        manifest = self._manifest()
        ledger.write_whole(self.folder / MANIFEST_NAME, _to_json_text(manifest))
        return manifest

    def read_manifest(self) -> dict[str, Any]:
        """Returns the manifest of a finished folder; raises as `ledger.read_whole`."""
        manifest: dict[str, Any] = json.loads(ledger.read_whole(self.folder / MANIFEST_NAME))
        return manifest

    @property
    def configuration_digest(self) -> str:
        """SHA-256 of the configuration, in hex."""
        return _digest(_to_json_text(self.configuration))

    def _manifest(self) -> dict[str, Any]:
        explanations: collections.Counter[str] = collections.Counter()
        reasons: collections.Counter[str] = collections.Counter()
        shards = []
        for shard in range(self.plan.num_shards):
            annotated, rejects = self.read_shard(shard), self.read_rejects(shard)
            reasons.update(reject.reason for reject in rejects)
            for field in prompts.EXPLANATION_FIELDS:
                explanations[field] += sum(1 for record in annotated if getattr(record, field))
            shards.append(
                {"name": self.plan.name(shard), "records": len(annotated), "rejects": len(rejects)}
            )
        return {
            "format": FORMAT_VERSION,
            "configuration_digest": self.configuration_digest,
            "configuration": self.configuration,
            "rows": self.plan.num_rows,
            "counts": {
                "records": sum(entry["records"] for entry in shards),
                "rejects": sum(entry["rejects"] for entry in shards),
                "explanations": dict(explanations),
                "reject_reasons": dict(sorted(reasons.items())),
            },
            "shards": shards,
        }

    def _claim_folder(self) -> None:
        claimed = ledger.is_complete(self.folder / claim.CONFIGURATION_NAME)
        if not claimed and self.folder.is_dir():
            found = sorted(self.folder.glob("annotation-*.jsonl"))
            if found:
                raise claim.ConfigurationMismatchError(
                    f"output folder {str(self.folder)!r} holds {found[0].name!r} but no"
                    f" {claim.CONFIGURATION_NAME!r}, so nobody can tell whether it belongs to this"
                    " run. Choose another output folder, or delete this one."
                )
        claim.check_folder(self.folder, self.configuration)
        hosts.on_first_host(
            f"claiming {self.folder}",
            lambda: claim.claim_folder(self.folder, self.configuration),
        )

    def _check_rows(
        self, shard: int, annotated: Sequence[records.TeacherDataRecord], rejects: Sequence[Reject]
    ) -> None:
        rows = self.plan.rows(shard)
        expected = self._row_ids[rows.start : rows.stop]
        given = [record.id for record in annotated]
        kept, rejected = set(given), {reject.id for reject in rejects}
        name = self.plan.name(shard)
        if strange := sorted((kept | rejected) - set(expected)):
            raise ValueError(f"{name}: id {strange[0]!r} is not of this shard's {len(rows)} rows.")
        if given != [row_id for row_id in expected if row_id in kept]:
            raise ValueError(f"{name}: the records must be in the order of the rows, each once.")
        if lost := [row_id for row_id in expected if row_id not in rejected | kept]:
            raise ValueError(
                f"{name}: {len(lost)} of {len(rows)} rows have neither a record nor a reject, the"
                f" first being {lost[0]!r}. Give a reject with the reason for each row left out."
            )


def check_rows(row_ids: Sequence[str], rows_per_shard: int) -> None:
    """Checks that rows can be annotated, before there is a folder or a teacher.

    Raises:
        ValueError: there are none, an id stands twice, or there would be too many shards.
    """
    ShardPlan(len(row_ids), rows_per_shard)
    _check_unique(row_ids)


def _check_unique(row_ids: Sequence[str]) -> Sequence[str]:
    if len(set(row_ids)) < len(row_ids):
        row_id, count = collections.Counter(row_ids).most_common(1)[0]
        raise ValueError(
            f"id {row_id!r} stands {count} times among the {len(row_ids)} rows to annotate; each"
            " must stand once. Equal questions have equal ids: keep the first of each."
        )
    return row_ids


def _encode_rejects(rejects: Sequence[Reject]) -> str:
    return "".join(json.dumps(dataclasses.asdict(reject)) + "\n" for reject in rejects)


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(json.dumps(values, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the configuration must hold JSON values only: {error}.") from None
    return result


def _to_json_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
