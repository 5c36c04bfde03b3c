"""Annotation shards: the cut, the output folder, and what a killed run leaves behind."""

import json
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

from teacherlm_jax.data import claim, ledger, records
from teacherlm_jax.teacher import shards

CONFIGURATION = {
    "task": "creak",
    "prompts": {"fundamentals": "fundamentals-1234abcd"},
    "sampling": {"temperature": 1.0, "top_k": 50},
    "checkpoint_digest": "feed",
}
ROWS = [
    records.TeacherDataRecord.create(f"question {i}?", ["true", "false"], "A") for i in range(10)
]
IDS = [row.id for row in ROWS]


def _open(folder, rows_per_shard=4, ids=IDS, **changes):
    return shards.AnnotationFolder(folder, {**CONFIGURATION, **changes}, ids, rows_per_shard)


def _annotate(folder, shard):
    """Annotates a shard: row 5 is left out, row 6 keeps no chain of thought."""
    annotated, rejects = [], []
    for number in folder.plan.rows(shard):
        if number == 5:
            rejects.append(shards.Reject(IDS[5], "no end within the budget", "", "text"))
            continue
        chain_of_thought = "" if number == 6 else f"c{number}"
        if number == 6:
            rejects.append(shards.Reject(IDS[6], "empty", "chain_of_thought"))
        annotated.append(
            records.TeacherDataRecord.create(
                f"question {number}?",
                ["true", "false"],
                "A",
                fundamentals=f"f{number}",
                chain_of_thought=chain_of_thought,
            )
        )
    return folder.write_shard(shard, annotated, rejects)


@pytest.mark.parametrize(("num_rows", "rows_per_shard"), [(1, 1), (10, 4), (8, 4), (3, 100)])
def test_the_shards_hold_every_row_once_in_order(num_rows, rows_per_shard):
    plan = shards.ShardPlan(num_rows, rows_per_shard)
    rows = [row for shard in range(plan.num_shards) for row in plan.rows(shard)]
    assert rows == list(range(num_rows))
    assert all(0 < len(plan.rows(shard)) <= rows_per_shard for shard in range(plan.num_shards))


def test_names_say_which_shard_of_how_many():
    plan = shards.ShardPlan(10, 1)
    assert plan.name(3) == "annotation-00003-of-00010.jsonl"
    assert plan.rejects_name(3) == "annotation-00003-of-00010.rejects.jsonl"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shards.ShardPlan(0), "there are 0 rows to annotate .* at least 1"),
        (lambda: shards.ShardPlan(1, 0), "in shards of 0"),
        (lambda: shards.ShardPlan(200_000, 2), "make 100000 shards; .* rows_per_shard to 3 or"),
        (lambda: shards.ShardPlan(10, 4).rows(3), "shard is 3; it must be 0 to 2"),
    ],
)
def test_numbers_out_of_range_are_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_run_writes_shards_rejects_and_at_last_a_manifest(tmp_path):
    folder = _open(tmp_path / "out")
    assert folder.pending() == [0, 1, 2]
    for shard in (2, 0, 1):
        assert not ledger.is_complete(folder.folder / shards.MANIFEST_NAME)
        _annotate(folder, shard)
    assert folder.pending() == []
    assert len(folder.read_shard(1)) == 3
    assert folder.read_rejects(1) == [
        shards.Reject(IDS[5], "no end within the budget", "", "text"),
        shards.Reject(IDS[6], "empty", "chain_of_thought"),
    ]
    assert folder.read_rejects(0) == []

    manifest = folder.finish()
    assert ledger.is_complete(folder.folder / shards.MANIFEST_NAME)
    assert folder.finish() == manifest
    assert manifest["counts"] == {
        "records": 9,
        "rejects": 2,
        "explanations": {"fundamentals": 9, "chain_of_thought": 8, "common_mistakes": 0},
        "reject_reasons": {"empty": 1, "no end within the budget": 1},
    }
    assert manifest["rows"] == 10
    assert manifest["configuration"]["sampling"] == {"temperature": 1.0, "top_k": 50}
    assert json.loads((tmp_path / "out" / "manifest.json").read_bytes()) == manifest
    assert [record.fundamentals for record in records.read_jsonl(tmp_path / "out")] == [
        f"f{number}" for number in range(10) if number != 5
    ]


def test_an_unfinished_run_has_no_manifest_and_says_what_is_pending(tmp_path):
    folder = _open(tmp_path)
    _annotate(folder, 1)
    with pytest.raises(ValueError, match=r"2 of 3 shards .* \(annotation-00000-of-00003.jsonl, "):
        folder.finish()
    with pytest.raises(FileNotFoundError, match=r"annotation-00000-of-00003.jsonl' does not exist"):
        folder.read_shard(0)
    with pytest.raises(FileNotFoundError, match="is not finished"):
        list(records.read_jsonl(tmp_path))


def test_another_run_of_the_configuration_goes_on_whatever_its_number_of_hosts(tmp_path):
    _annotate(_open(tmp_path), 1)
    again = _open(tmp_path)
    assert again.pending() == [0, 2]
    assert again.pending() == [0, 2]
    assert again.configuration_digest == _open(tmp_path).configuration_digest


def test_a_torn_shard_is_pending_and_its_rejects_are_not_taken_over(tmp_path):
    folder = _open(tmp_path)
    # As a process leaves them that was killed between the rejects and the end of the records.
    ledger.write_whole(tmp_path / folder.plan.rejects_name(0), '{"id": "x", "reason": "old"}\n')
    (tmp_path / folder.plan.name(0)).write_bytes(b'{"id": "')
    assert folder.pending() == [0, 1, 2]
    _annotate(folder, 0)
    assert folder.read_rejects(0) == []
    assert len(folder.read_shard(0)) == 4


def test_a_finished_shard_is_never_changed(tmp_path):
    folder = _open(tmp_path)
    _annotate(folder, 1)
    _annotate(folder, 1)
    with pytest.raises(ledger.AlreadyWrittenError, match=r"annotation-00001-of-00003.jsonl"):
        folder.write_shard(1, ROWS[4:8])
    assert len(folder.read_rejects(1)) == 2


def test_a_damaged_shard_is_found_before_the_manifest_is_written(tmp_path):
    folder = _open(tmp_path)
    for shard in folder.pending():
        path = _annotate(folder, shard)
    path.write_bytes(path.read_bytes().replace(b'"f9"', b'"f0"'))
    with pytest.raises(ledger.TornFileError, match=r"annotation-00002-of-00003.jsonl"):
        folder.finish()
    assert not ledger.is_complete(folder.folder / shards.MANIFEST_NAME)


@pytest.mark.parametrize(
    ("rows", "rejects", "message"),
    [
        (ROWS[0:3], [], r"1 of 4 rows have neither a record nor a reject, the first being"),
        (ROWS[0:5], [], "is not of this shard's 4 rows"),
        ([*ROWS[1:4], ROWS[0]], [], "must be in the order of the rows"),
        ([ROWS[0], *ROWS[0:4]], [], "must be in the order of the rows, each once"),
        (ROWS[0:4], [shards.Reject("strange", "why")], "id 'strange' is not of this shard's"),
    ],
)
def test_a_shard_must_account_for_each_of_its_rows(tmp_path, rows, rejects, message):
    folder = _open(tmp_path)
    with pytest.raises(ValueError, match=r"annotation-00000-of-00003.jsonl: .*" + message):
        folder.write_shard(0, rows, rejects)
    assert folder.pending() == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        (
            {"sampling": {"temperature": 0.7, "top_k": 50}},
            ["sampling.temperature: folder has 1.0, this run has 0.7"],
        ),
        ({"seed": 1}, ["seed: folder has 'nothing', this run has 1"]),
        ({"rows_per_shard": 5}, ["rows_per_shard: folder has 4, this run has 5"]),
        (
            {"ids": IDS[:9], "checkpoint_digest": "face"},
            [
                "checkpoint_digest: folder has 'feed', this run has 'face'",
                "row_ids_digest: folder has ",
                "rows: folder has 10, this run has 9",
            ],
        ),
        ({"ids": IDS[::-1]}, ["row_ids_digest: folder has "]),
    ],
)
def test_a_folder_of_another_configuration_is_refused(tmp_path, changes, differences):
    _open(tmp_path)
    with pytest.raises(claim.ConfigurationMismatchError) as error:
        _open(tmp_path, **changes)
    lines = str(error.value).splitlines()
    assert len(lines) == len(differences) + 2
    assert all(part in line for part, line in zip(differences, lines[1:-1]))
    assert "choose another output folder" in lines[-1]


def test_a_folder_with_shards_of_unknown_origin_is_refused(tmp_path):
    (tmp_path / "annotation-00000-of-00003.jsonl").write_bytes(b"")
    with pytest.raises(claim.ConfigurationMismatchError, match=r"but no 'configuration.json'"):
        _open(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"cannot write into the output folder '.*file/out'"):
        _open(tmp_path / "file" / "out")


def test_equal_ids_and_values_that_are_not_json_are_refused(tmp_path):
    with pytest.raises(ValueError, match=f"id '{IDS[0]}' stands 2 times among the 11 rows"):
        _open(tmp_path, ids=[*IDS, IDS[0]])
    with pytest.raises(ValueError, match="must hold JSON values only"):
        _open(tmp_path, seed=object())
    assert list(tmp_path.iterdir()) == []


_KILLED_RUN = """
    import os, signal, sys
    from etils import epath
    from tests.teacher import test_shards

    writes_left = int(sys.argv[2])
    kind = type(epath.Path(sys.argv[1]))
    real_open = kind.open

    def killing_open(self, mode="r", **kwargs):
        global writes_left
        stream = real_open(self, mode, **kwargs)
        if "w" in mode:
            writes_left -= 1
            if writes_left < 0:
                stream.write(b"{")
                stream.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        return stream

    kind.open = killing_open
    folder = test_shards._open(sys.argv[1])
    for shard in folder.pending():
        test_shards._annotate(folder, shard)
    folder.finish()
"""


def test_a_run_killed_at_every_write_comes_to_the_same_files_as_one_never_killed(tmp_path):
    whole = _open(tmp_path / "whole")
    for shard in whole.pending():
        _annotate(whole, shard)
    whole.finish()
    # Each run is killed in the middle of a later write than the one before, until none is left.
    code = textwrap.dedent(_KILLED_RUN)
    statuses, finished = [], {}
    for writes in range(12):
        command = [sys.executable, "-c", code, str(tmp_path / "killed"), str(writes)]
        statuses.append(subprocess.run(command, check=False).returncode)
        # No finished shard is lost, and none is written again.
        times = {path: path.stat().st_mtime_ns for path in finished}
        assert times == finished
        paths = ledger.list_complete(tmp_path / "killed", "annotation-*-of-00003.jsonl")
        finished = {path: path.stat().st_mtime_ns for path in map(pathlib.Path, paths)}
        if statuses[-1] == 0:
            break
    assert statuses == [-signal.SIGKILL] * (len(statuses) - 1) + [0]
    assert len(statuses) > 4
    assert _content(tmp_path / "killed") == _content(tmp_path / "whole")


def _content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
