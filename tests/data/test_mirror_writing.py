import hashlib
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest
from etils import epath

from teacherlm_jax.data import ledger, mirror, mirror_writing
from teacherlm_jax.data.mirror import MirrorError
from teacherlm_jax.data.mirror_writing import Settings, of_files, write
from teacherlm_jax.data.raw_files import Reading
from teacherlm_jax.data.row_rendering import RowError
from tests.object_store import run_on_object_store

ROWS = [{"n": n, "text": f"é\u2028 {n}", "none": None} for n in range(30)]


@pytest.fixture
def source(tmp_path):
    """Splits -> files."""
    (tmp_path / "from").mkdir()
    pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "from/train.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in ROWS[:4])
    (tmp_path / "from/dev.jsonl").write_text(lines)
    return {
        "train": [epath.Path(tmp_path / "from/train.parquet")],
        "validation": [epath.Path(tmp_path / "from/dev.jsonl")],
    }


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def by_hand(folder, split, format="jsonl"):
    """Rows of a mirror, read without our code, and checked against its manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    found = []
    for shard in manifest["splits"][split]["shards"]:
        data = (folder / shard["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard["bytes"], shard["sha256"])
        if format == "jsonl":
            rows = [json.loads(line) for line in data.decode().split("\n")[:-1]]
        else:
            import grain

            reader = grain.sources.ArrayRecordDataSource([str(folder / shard["file"])])
            rows = [json.loads(reader[place]) for place in range(len(reader))]
        assert len(rows) == shard["rows"]
        found += rows
    assert len(found) == manifest["splits"][split]["rows"]
    return found


@pytest.mark.parametrize("format", mirror.FORMATS)
def test_rows_are_those_of_the_source_in_hashed_files(source, tmp_path, format):
    settings = Settings(format, shard_bytes=300)
    made = write(tmp_path / "to", of_files(source), settings)
    assert made.counts == {"train": 30, "validation": 4}
    assert len(made.splits["train"]) == len(list((tmp_path / "to").glob(f"train-*.{format}"))) > 3
    assert by_hand(tmp_path / "to", "train", format) == ROWS
    assert by_hand(tmp_path / "to", "validation", format) == ROWS[:4]
    rows = [json.loads(text) for text, *_ in made.rows("train")]
    assert rows == ROWS


def test_a_mirror_is_the_same_whenever_and_wherever_it_is_made(source, tmp_path):
    write(tmp_path / "one", of_files(source))
    moved = {
        split: [epath.Path(tmp_path / "moved" / path.name) for path in files]
        for split, files in source.items()
    }
    (tmp_path / "moved").mkdir()
    for split, (path,) in moved.items():
        path.write_bytes(source[split][0].read_bytes())
    write(tmp_path / "two", of_files(moved))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert str(tmp_path).encode() not in b"".join(contents(tmp_path / "one").values())


def test_a_finished_mirror_is_left_alone_and_another_source_refused(source, tmp_path):
    write(tmp_path / "to", of_files(source))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "to").iterdir()}
    told = []
    write(tmp_path / "to", of_files(source), tell=told.append)
    assert told == [f"{tmp_path / 'to'} is complete."]
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "to").iterdir()}
    with pytest.raises(MirrorError, match="limit: null before, 3 now"):
        write(tmp_path / "to", of_files(source), Settings(limit=3))
    with source["validation"][0].open("w") as stream:
        stream.write('{"n": 5}\n')
    with pytest.raises(MirrorError, match="is a mirror of another source"):
        write(tmp_path / "to", of_files(source))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(MirrorError, match=r"holds 'thesis\.tex' and is no mirror"):
        write(tmp_path / "home", of_files(source))


_KILLED = """
import os, signal, sys
from etils import epath
from teacherlm_jax.data import ledger
from teacherlm_jax.data.mirror_writing import Settings, of_files, write

folder, files = sys.argv[1], [epath.Path(path) for path in sys.argv[2:]]
whole = ledger._write_bytes

def run_and_die_in_write(number):
    left = number

    def half(path, data):
        nonlocal left
        left -= 1
        if left:
            return whole(path, data)
        with path.open("wb") as stream:
            stream.write(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    ledger._write_bytes = half
    splits = {"train": files[:1], "validation": files[1:]}
    write(folder, of_files(splits), Settings(shard_bytes=600))

for number in (1, 2, 3, 5, 2, 4):
    child = os.fork()
    if child == 0:
        run_and_die_in_write(number)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not ledger.is_complete(epath.Path(folder) / "manifest.json")
"""


def test_a_killed_run_leaves_nothing_that_looks_finished(source, tmp_path):
    """Killed in the middle of a write, each time going on, until it is left to end."""
    files = [str(path) for paths in source.values() for path in paths]
    settings = Settings(shard_bytes=600)
    write(tmp_path / "whole", of_files(source), settings)
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "to"), *files]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    told: list[str] = []
    write(tmp_path / "to", of_files(source), settings, told.append)
    assert any("rows are written already" in line for line in told)
    assert contents(tmp_path / "to") == contents(tmp_path / "whole")


def test_a_manifest_that_was_cut_short_is_no_mirror(source, tmp_path):
    write(tmp_path / "to", of_files(source))
    path = tmp_path / "to" / "manifest.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with pytest.raises(MirrorError, match=r"not finished|cannot be read"):
        mirror.read(tmp_path / "to")
    write(tmp_path / "to", of_files(source))
    assert path.read_bytes() == whole


def test_malformed_rows_stop_it_or_are_left_out_and_kept(tmp_path):
    path = epath.Path(tmp_path / "train.jsonl")
    path.write_bytes(b'{"n": 1}\n{"n": NaN}\n{"n": "caf\xe9"}\n{"n": 2}\n')
    origin = of_files({"train": [path]})
    with pytest.raises(RowError, match=r"train\.jsonl:2: the number NaN .* --malformed_rows skip"):
        write(tmp_path / "one", origin)
    made = write(tmp_path / "two", origin, Settings(skip_malformed=True))
    assert [json.loads(text)["n"] for text, *_ in made.rows("train")] == [1, 2]
    (file,) = ledger.list_complete(tmp_path / "two" / "rejects" / "train")
    kept = [json.loads(line) for line in ledger.read_text(file).splitlines()]
    assert [entry["where"].rpartition(":")[2] for entry in kept] == ["2", "3"]


def test_a_limit_takes_the_first_rows(source, tmp_path):
    made = write(tmp_path / "to", of_files(source), Settings(limit=7))
    assert made.counts == {"train": 7, "validation": 4}
    assert by_hand(tmp_path / "to", "train") == ROWS[:7]


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_split_without_rows_is_an_error(tmp_path, content):
    (tmp_path / "train.jsonl").write_bytes(content)
    with pytest.raises(MirrorError, match="split 'train' of the source has no rows"):
        write(tmp_path / "to", of_files({"train": [epath.Path(tmp_path / "train.jsonl")]}))


def test_a_split_without_rows_is_told_of_before_another_is_written(source, tmp_path):
    (tmp_path / "test.jsonl").write_bytes(b"")
    files = {**source, "test": [epath.Path(tmp_path / "test.jsonl")]}
    with pytest.raises(MirrorError, match=r"'test' of the source has no rows \(test\.jsonl\)"):
        write(tmp_path / "to", of_files(files))
    assert not list((tmp_path / "to").glob("train-*"))


@pytest.mark.parametrize("split", ["../../out", "a/b", "", ".hidden", "a+b", "a[1]", "a\n"])
def test_names_of_splits_stay_in_the_folder(source, tmp_path, split):
    with pytest.raises(MirrorError, match="a split cannot be called"):
        write(tmp_path / "to", of_files({split: source["train"]}))
    assert not (tmp_path / "to").exists()


def test_settings_are_checked():
    with pytest.raises(ValueError, match="format = 'parquet'; it must be one of"):
        Settings("parquet")
    with pytest.raises(ValueError, match="limit = 0; it must be at least 1"):
        Settings(limit=0)


def test_how_files_are_read_is_part_of_what_a_mirror_is(tmp_path):
    path = epath.Path(tmp_path / "train.csv")
    path.write_text("q,label\na,1\n")
    made = write(tmp_path / "to", of_files({"train": [path]}, Reading(integers=("label",))))
    assert [json.loads(text) for text, *_ in made.rows("train")] == [{"q": "a", "label": 1}]
    with pytest.raises(MirrorError, match="reading: "):
        write(tmp_path / "to", of_files({"train": [path]}))


_ON_OBJECT_STORE = """
import json, sys
import numpy as np
from etils import epath
from teacherlm_jax.data import mirror, mirror_writing, raw_folders

origin = epath.Path("gs://bucket/from/train.jsonl")
origin.write_text("".join(json.dumps({"n": n}) + "\\n" for n in range(9)))
for format in mirror.FORMATS:
    settings = mirror_writing.Settings(format, shard_bytes=30)
    for _ in range(2):
        splits = raw_folders.find("gs://bucket/from")
        folder = f"gs://bucket/{format}"
        made = mirror_writing.write(folder, mirror_writing.of_files(splits), settings)
    rows = [json.loads(text)["n"] for text, *_ in made.rows("train[2:]", np.array([0, 5]))]
    assert rows == [2, 7], rows
"""


def test_mirrors_live_on_object_stores(object_store):
    run_on_object_store(object_store, ["-c", _ON_OBJECT_STORE])
    assert not object_store.refused and not object_store.overwritten and not object_store.unknown
    assert "array_record/manifest.json" in object_store.buckets["bucket"]


def test_what_tfds_prepared(tmp_path, monkeypatch):
    from tensorflow_datasets.core.utils import file_utils

    from tests.data import tiny_tfds

    tiny_tfds.prepare(tmp_path / "tfds")
    monkeypatch.setattr(file_utils, "_REGISTERED_DATA_DIRS", {tmp_path / "tfds"})
    origin = mirror_writing.of_tfds(tiny_tfds.NAME, ["train", "validation"])
    write(tmp_path / "to", origin)
    for split, count in tiny_tfds.COUNTS.items():
        expected = [tiny_tfds.row(number) for number in range(count)]
        assert by_hand(tmp_path / "to", split) == expected
    with pytest.raises(RowError, match=r"flat_rows:1\.0\.0 train:1: not UTF-8"):
        write(tmp_path / "flat", mirror_writing.of_tfds("flat_rows:1.0.0", ["train"]))


def test_a_place_that_cannot_be_written_to(source, tmp_path):
    (tmp_path / "file").write_text("")
    for place, reason in (("file", "is a file: give a folder"), ("file/in", "cannot write into")):
        with pytest.raises(MirrorError, match=reason):
            write(tmp_path / place, of_files(source))
