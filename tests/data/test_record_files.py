import decimal
import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from teacherlm_jax.data import ledger, record_files
from teacherlm_jax.data.record_fields import RecordError


def rows(file):
    return [(json.loads(text), where) for text, where in record_files.read_rows(file)]


def test_every_kind_of_file_gives_its_rows_and_where_they_stand(tmp_path):
    values = [{"q": "a, b?", "n": "1"}, {"q": 'two\n"lines"', "n": "2"}]
    lines = "".join(json.dumps(row) + "\n\n" for row in values)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    (tmp_path / "a.json").write_text(json.dumps(values))
    (tmp_path / "a.csv").write_text('q,n\n"a, b?",1\n"two\n""lines""",2\n')
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values), tmp_path / "a.parquet")
    places = {".jsonl": [":1", ":3"], ".json": ["[1]", "[2]"], ".csv": [":2", ":3"]}
    for suffix in tuple(places):
        packed = gzip.compress((tmp_path / f"a{suffix}").read_bytes())
        (tmp_path / f"a{suffix}.gz").write_bytes(packed)
        places[f"{suffix}.gz"] = places[suffix]
    for suffix in record_files.SUFFIXES:
        file = tmp_path / f"a{suffix}"
        expected = [f"{file}{place}" for place in places.get(suffix, [":1", ":2"])]
        assert rows(file) == list(zip(values, expected, strict=True)), suffix


def test_parquet_leaves_out_nulls_and_lines_of_csv_with_other_lengths_say_so(tmp_path):
    table = pyarrow.Table.from_pylist([{"a": "x", "s": {"t": None, "u": [1]}}, {"a": None}])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert [row for row, _ in rows(tmp_path / "a.parquet")] == [{"a": "x", "s": {"u": [1]}}, {}]
    (tmp_path / "a.csv").write_text("q,n\nshort\na,b,c,d\n")
    assert [row for row, _ in rows(tmp_path / "a.csv")] == [
        {"q": "short", "n": None},
        {"q": "a", "n": "b", record_files.MORE_FIELDS: ["c", "d"]},
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"q": 1}', "must be one list of objects"),
        ("a.json", b"[", r"a\.json: not valid JSON"),
        ("a.parquet", b"PAR1", r"a\.parquet: not a whole Parquet file"),
        ("a.csv", b'q\nx\n"y\n', r"a\.csv:3: not CSV in UTF-8"),
        ("a.json", b"[" * 100_000, r"a\.json: not valid JSON"),
        ("a.csv", b"q,q\nx,y\n", r"a\.csv:1: two columns are called 'q'"),
        ("a.csv", b"q\n\xff\n", r"a\.csv:2: not CSV in UTF-8"),
        ("a.jsonl.gz", b'{"q": 1}', r"a\.jsonl\.gz: not a whole gzip file"),
        ("a.csv.gz", gzip.compress(b"q\nx\n", mtime=0)[:-4], r"a\.csv\.gz: not a whole gzip file"),
        ("a.json.gz", gzip.compress(b"[", mtime=0), r"a\.json\.gz: not valid JSON"),
        ("a.txt", b"", r"a\.txt: the name ends in none of \.jsonl"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordError, match=message):
        rows(tmp_path / name)


def test_a_marked_file_of_any_kind_is_verified(tmp_path):
    for suffix in (".csv", ".jsonl", ".json", ".parquet"):
        path = tmp_path / f"a{suffix}"
        ledger.write_whole(path, "q\nx\n")
        path.write_text("q\ny\n")
        with pytest.raises(ledger.TornFileError):
            rows(path)


def test_folders_patterns_and_several_paths_are_read_in_the_order_of_their_names(tmp_path):
    for name in ("b.parquet", "a.parquet", "a.rejects.jsonl", "manifest.json"):
        (tmp_path / name).touch()
    names = [file.name for file in record_files.list_files(tmp_path)]
    assert names == ["a.parquet", "b.parquet"]
    several = record_files.list_files([tmp_path / "b.parquet", str(tmp_path / "a*.parquet")])
    assert [file.name for file in several] == ["b.parquet", "a.parquet"]
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(ValueError, match=r"several kinds \(a\.jsonl, b\.parquet\)"):
        record_files.list_files(tmp_path)
    assert len(record_files.list_files(tmp_path, (".jsonl",))) == 1
    (tmp_path / "a.jsonl.gz").touch()
    with pytest.raises(ValueError, match=r"several kinds \(a\.jsonl, a\.jsonl\.gz\)"):
        record_files.list_files(tmp_path, (".jsonl", ".jsonl.gz"))


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl.gz"])
def test_missing_shards_are_named_whatever_their_kind(tmp_path, suffix):
    (tmp_path / f"a-00001-of-00002{suffix}").touch()
    with pytest.raises(FileNotFoundError, match=f"a-00000-of-00002{suffix}"):
        record_files.list_files(tmp_path)


def test_a_table_with_what_json_lacks_is_named_with_the_row(tmp_path):
    file = tmp_path / "a.parquet"
    bad = pyarrow.array([b"fine", b"caf\xe9"]).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"q": bad}), file)
    assert rows(file)[1][0] == {"q": "caf\udce9"}  # Which no record may hold.
    for values, reason in (
        (pyarrow.array([0, 1], pyarrow.timestamp("ns")), "cannot be read"),
        ([None, decimal.Decimal(1)], "which JSON lacks"),
    ):
        pyarrow.parquet.write_table(pyarrow.table({"q": ["x", "y"], "n": values}), file)
        with pytest.raises(RecordError, match=rf"a\.parquet:2: .*{reason}"):
            rows(file)


def test_a_damaged_table_is_named(tmp_path):
    file = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"q": [f"text {n}" for n in range(500)]}), file)
    data = bytearray(file.read_bytes())
    data[40:60] = bytes(20)
    file.write_bytes(data)
    with pytest.raises(RecordError, match=r"a\.parquet: not a whole Parquet file"):
        rows(file)
