import csv
import datetime
import decimal
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from teacherlm_jax.data import raw_files
from teacherlm_jax.data.raw_files import FileError, Reading
from teacherlm_jax.data.row_rendering import RowError, parsed

ROWS = [
    {"q": 'He said "hi",\nthen left.', "label": 1, "o": ["é", None], "s": {"a": 0.5, "b": None}},
    {"q": "", "label": -(2**63), "o": [], "s": {"a": None, "b": "x"}},
    {"q": "\u2028\x85 tab\t", "label": 2**63 - 1, "o": ["z"], "s": {"a": 1e300, "b": "y"}},
]


def values(file, reading=Reading()):  # noqa: B008
    return [parsed(row.text) for row in raw_files.rows(file, reading)]


def places(file, reading=Reading()):  # noqa: B008
    return [row.where.rpartition(":")[2] for row in raw_files.rows(file, reading)]


def write_tables(folder):
    table = pa.Table.from_pylist(ROWS)
    pyarrow.parquet.write_table(table, folder / "a.parquet", row_group_size=2)
    path = str(folder / "stream.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    path = str(folder / "file.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def test_tables_keep_names_types_and_nulls(tmp_path):
    write_tables(tmp_path)
    for name in ("a.parquet", "stream.arrow", "file.arrow"):
        assert values(tmp_path / name) == ROWS
        assert places(tmp_path / name) == ["1", "2", "3"]
    dropped = values(tmp_path / "a.parquet", Reading(drop=("s", "o")))
    assert dropped == [{"q": row["q"], "label": row["label"]} for row in ROWS]


def test_json_in_its_forms(tmp_path):
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in ROWS)
    mark = b"\xef\xbb\xbf"
    files = {
        "a.jsonl": mark + lines.encode(),
        "b.ndjson": lines.replace("\r\n", "\n\n").encode().rstrip(),
        "c.json": mark + json.dumps(ROWS, indent=1).encode(),
        "d.json": lines.encode(),
        "e.jsonl.gz": gzip.compress(lines.encode()),
        "f.json.gz": gzip.compress(json.dumps(ROWS).encode()),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert values(tmp_path / name) == ROWS, name
    assert places(tmp_path / "b.ndjson") == ["1", "3", "5"]
    assert places(tmp_path / "c.json") == ["1", "2", "3"]


def test_csv_fields_are_texts_unless_they_are_named(tmp_path):
    rows = [
        {"id": "007", "question": 'a "b",\nc\té', "label": "1"},
        {"id": "1.0", "question": "NA", "label": "-2"},
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    path = tmp_path / "a.csv"
    path.write_text("\ufeff" + text.getvalue())
    assert values(path) == rows
    assert places(path) == ["2", "4"]  # The first row takes two lines.
    numbered = [{**row, "label": int(row["label"])} for row in rows]
    assert values(path, Reading(integers=("label",))) == numbered
    (tmp_path / "bare.csv").write_text("What?,a,b,A\nWhy?,1,2,B\n")
    named = values(tmp_path / "bare.csv", Reading(columns=("q", "A", "B", "answer")))
    assert named[1] == {"q": "Why?", "A": "1", "B": "2", "answer": "B"}


def test_quotes_in_tsv_are_text(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('a\tb\n"He\tleft" she said\n')
    assert values(path) == [{"a": '"He', "b": 'left" she said'}]


def test_rows_that_are_malformed_are_passed_on_as_such(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n{"a": "caf\xe9"}\n[]\n')
    (tmp_path / "b.csv").write_bytes(b"a,b\n1,2\n1\ncaf\xe9,2\n1,2,3\n")
    first, bad, empty = raw_files.rows(tmp_path / "a.jsonl")
    assert parsed(first.text) == {"a": 1} and bad.text == b'{"a": "caf\xe9"}'
    for row in (bad, empty):
        with pytest.raises(RowError):
            parsed(row.text)
    fine, short, bytes_, long = raw_files.rows(tmp_path / "b.csv")
    assert (fine.reason, short.reason) == ("", "1 fields; there must be 2.")
    assert long.reason == "3 fields; there must be 2." and long.where.endswith("b.csv:5")
    with pytest.raises(RowError, match="not UTF-8"):
        parsed(bytes_.text)
    (row,) = list(raw_files.rows(tmp_path / "b.csv", Reading(integers=("a",))))[2:3]
    assert "no whole number" in row.reason


def test_values_of_tables_that_json_lacks(tmp_path):
    table = pa.table(
        {
            "day": [datetime.date(2024, 2, 29)] * 4,
            "price": pa.array([None, decimal.Decimal("1.5"), None, None]),
            "number": [1.0, 1.0, float("nan"), 1.0],
            "bytes": [b"fine", b"", b"", b"caf\xe9"],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    fine, price, number, binary = raw_files.rows(tmp_path / "a.parquet")
    assert parsed(fine.text) == {
        "day": "2024-02-29",
        "price": None,
        "number": 1.0,
        "bytes": "fine",
    }
    assert "is a Decimal, for which JSON has no type" in price.reason
    for row, reason in ((number, "not finite"), (binary, "not UTF-8")):
        with pytest.raises(RowError, match=reason):
            parsed(row.text)


def test_texts_of_tables_that_are_not_utf_8(tmp_path):
    bad = pa.array([b"good", b"caf\xe9", b"fine"]).view(pa.string())
    table = pa.table({"n": [1, 2, 3], "text": bad, "list": [["a"], ["b"], ["c"]]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    first, second, third = raw_files.rows(tmp_path / "a.parquet")
    assert [parsed(row.text)["n"] for row in (first, third)] == [1, 3]
    assert b"caf\xe9" in second.text
    nested = pa.ListArray.from_arrays([0, 1, 2, 3], bad)
    pyarrow.parquet.write_table(pa.table({"list": nested}), tmp_path / "b.parquet")
    _, second, third = raw_files.rows(tmp_path / "b.parquet")
    with pytest.raises(RowError, match="not UTF-8"):
        parsed(second.text)
    assert parsed(third.text) == {"list": ["fine"]}


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.txt", b"", "the name ends in none of .jsonl"),
        ("a.parquet", b"PAR1 oops", "not a whole parquet file"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid x\n", "run `git lfs pull`"),
        ("a.arrow", b"oops", "not a whole arrow file"),
        ("a.arrow", b"", "not a whole arrow file"),
        ("a.json", b"[1, 2", "not valid JSON"),
        ("a.json", b'{"data": [{"a": 1}]}', "neither a list of objects nor an object a line"),
        ("a.json", b'{\n"data": 1}', "neither a list of objects"),
        ("a.json", b'["caf\xe9"]', "not valid JSON in UTF-8"),
        ("a.csv", b"a,a\n1,2\n", "must have names, each once"),
        ("a.csv", b'a,b\n1,2\n"x,2\n', r"a\.csv:3: not CSV"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-9], "not a whole gzip file"),
        ("a.jsonl.gz", b"no gzip", "not a whole gzip file"),
    ],
)
def test_files_that_are_not_what_their_names_say(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=reason):
        list(raw_files.rows(tmp_path / name))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
def test_empty_files_hold_no_rows(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert values(tmp_path / name) == []


def test_values_of_tables_that_python_cannot_hold_spare_their_neighbours(tmp_path):
    table = pa.table(
        {
            "n": [1, 2],
            "fine": pa.array([0, 1], pa.timestamp("ns")),
            "far": pa.array([0, 2**62], pa.timestamp("ms")),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    first, second = raw_files.rows(tmp_path / "a.parquet")
    assert parsed(first.text)["far"] == "1970-01-01T00:00:00"
    assert "field 'fine', timestamp[ns], cannot be read" in second.reason
    assert values(tmp_path / "a.parquet", Reading(drop=("fine", "far"))) == [{"n": 1}, {"n": 2}]


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(FileError, match="two columns are called 'a'"):
        values(tmp_path / "a.parquet")
    with pytest.raises(FileError, match=r"must have names, each once; they are \['a', 'a'\]"):
        values(tmp_path / "a.csv", Reading(columns=("a", "a")))


def test_flags_name_fields_that_there_are(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(FileError, match=r"no field 'c'; there are \['a', 'b'\]"):
        values(tmp_path / "a.csv", Reading(columns=("a", "b"), integers=("c",)))
    with pytest.raises(FileError, match="'a' is among --integers and --drop"):
        values(tmp_path / "a.csv", Reading(columns=("a", "b"), integers=("a",), drop=("a",)))


def test_half_a_character_in_a_list_is_one_rows_fault(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": "\\ud800"}, {"a": "\\ud83d\\ude00"}]')
    bad, good = raw_files.rows(tmp_path / "a.json")
    assert parsed(good.text) == {"a": "\N{GRINNING FACE}"}
    with pytest.raises(RowError, match="half of a character"):
        parsed(bad.text)


def test_a_gzip_file_that_was_changed(tmp_path):
    # Stored bytes with a block of a kind that there is none.
    data = bytearray(gzip.compress(b'{"a": 1}\n'))
    data[10] = 0x07
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    with pytest.raises(FileError, match="not a whole gzip file"):
        values(tmp_path / "a.jsonl.gz")


def test_a_field_may_stand_in_the_file_s_name(tmp_path):
    path = tmp_path / "high_school_physics_val.csv"
    path.write_text("Why?,B\n")
    reading = Reading(columns=("question", "answer"), named="subject=(.+)_(?:val|test)")
    assert values(path, reading) == [
        {"question": "Why?", "answer": "B", "subject": "high_school_physics"}
    ]
    other = tmp_path / "physics.csv"
    other.write_text("Why?,B\n")
    with pytest.raises(FileError, match=r"finds no subject in the name 'physics\.csv'"):
        values(other, reading)
    with pytest.raises(FileError, match="have a field 'answer' of their own"):
        values(path, Reading(columns=("question", "answer"), named="answer=(.+)_val"))


@pytest.mark.parametrize("named", ["subject", "=(.+)", "subject=.+", "subject=(a)(b)", "s=("])
def test_what_names_no_field_is_refused(named):
    with pytest.raises(ValueError, match="--named"):
        Reading(named=named)
