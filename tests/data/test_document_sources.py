import json

import pytest
import seqio

from teacherlm_jax.data.document_sources import CorpusSource, TextFilesSource
from teacherlm_jax.data.row_rendering import RowError, raw_row


def documents(source: TextFilesSource, **arguments) -> list[tuple[str, str, int]]:
    """(text, name of the file and line, index) of every row."""
    dataset = source.get_dataset("train", shuffle=False, **arguments)
    rows = [raw_row(element) for element in dataset.as_numpy_iterator()]
    return [(row.values["text"], row.where.rpartition("/")[2], row.index) for row in rows]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("file", [("One\ntwo\n\n \nthree", "a.txt:1", 0), ("four\r\nfive", "b.txt:1", 1)]),
        (
            "paragraph",
            [("One\ntwo", "a.txt:1", 0), ("three", "a.txt:5", 1), ("four\r\nfive", "b.txt:1", 2)],
        ),
        (
            "line",
            [
                ("One", "a.txt:1", 0),
                ("two", "a.txt:2", 1),
                ("three", "a.txt:5", 2),
                ("four", "b.txt:1", 3),
                ("five", "b.txt:2", 4),
            ],
        ),
    ],
)
def test_plain_text_holds_files_paragraphs_or_lines(tmp_path, kind, expected):
    (tmp_path / "b.txt").write_bytes(b"four\r\nfive\r\n")
    (tmp_path / "a.txt").write_text("One\ntwo\n\n \nthree")
    (tmp_path / "empty.txt").write_text(" \n")
    source = TextFilesSource({"train": str(tmp_path / "*.txt")}, documents=kind)
    assert documents(source) == expected


@pytest.mark.parametrize("kind", ["file", "paragraph", "line"])
def test_a_byte_order_mark_is_no_text(tmp_path, kind):
    (tmp_path / "a.txt").write_text("One\ufeff", encoding="utf-8-sig")
    (tmp_path / "b.txt").write_text("\n", encoding="utf-8-sig")
    source = TextFilesSource({"train": str(tmp_path / "*.txt")}, documents=kind)
    assert documents(source) == [("One\ufeff", "a.txt:1", 0)]


def test_json_lines_begin_after_a_byte_order_mark(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n', encoding="utf-8-sig")
    source = TextFilesSource({"train": str(tmp_path / "x.jsonl")}, format="jsonl")
    assert documents(source) == [("a", "x.jsonl:1", 0), ("b", "x.jsonl:2", 1)]


def test_json_lines_are_rows_as_they_stand(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n\n{"text": "ä", "more": 1}\n')
    source = TextFilesSource({"train": [str(tmp_path / "x.jsonl")]}, format="jsonl")
    assert documents(source) == [("a", "x.jsonl:1", 0), ("ä", "x.jsonl:3", 1)]


def test_array_records_hold_objects(tmp_path):
    from array_record.python import array_record_module

    writer = array_record_module.ArrayRecordWriter(str(tmp_path / "x.array_record"), "group_size:1")
    for text in ("first", "second"):
        writer.write(json.dumps({"text": text}).encode())
    writer.close()
    source = TextFilesSource({"train": str(tmp_path / "*record")}, format="array_record")
    assert documents(source) == [
        ("first", "x.array_record:0", 0),
        ("second", "x.array_record:1", 1),
    ]


def test_shards_are_files_and_lose_none(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    source = TextFilesSource({"train": str(tmp_path / "*.txt")})
    assert len(source.list_shards("train")) == 5
    parts = [documents(source, shard_info=seqio.ShardInfo(part, 2)) for part in range(2)]
    assert [[text for text, _, _ in part] for part in parts] == [
        ["text 0", "text 2", "text 4"],
        ["text 1", "text 3"],
    ]


def test_text_that_is_no_utf8_is_an_error_with_its_place(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"fine\nna\xefve\n")
    source = TextFilesSource({"train": str(tmp_path / "x.txt")}, documents="line")
    with pytest.raises(RowError, match=r"x\.txt:2: not UTF-8: byte 0xef"):
        documents(source)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "csv"}, "format = 'csv', but it must be one of"),
        ({"documents": "page"}, "documents = 'page', but it must be one of"),
        ({"patterns": {}}, "a split needs files"),
    ],
)
def test_what_a_source_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        TextFilesSource(**{"patterns": {"train": "*.txt"}, **arguments})


def test_a_pattern_without_files_is_an_error(tmp_path):
    source = TextFilesSource({"train": str(tmp_path / "*.txt")})
    with pytest.raises(FileNotFoundError, match="split 'train': no file matches"):
        documents(source)


def test_a_corpus_that_is_not_prepared_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(seqio.utils.LazyTfdsLoader, "_MEMOIZED_BUILDERS", {})
    monkeypatch.setattr(seqio.utils, "_TFDS_DATA_DIR_OVERRIDE", str(tmp_path))
    source = CorpusSource("lm1b:1.1.0", {"train": "train"})
    assert source.num_input_examples("train") is None
    with pytest.raises(FileNotFoundError, match=r"tfds.builder\('lm1b:1\.1\.0'\)"):
        source.get_dataset("train")
