import json

import pyarrow as pa
import pyarrow.parquet
import pytest
from etils import epath

from teacherlm_jax.data import raw_files, raw_folders
from teacherlm_jax.data.raw_files import FileError
from teacherlm_jax.data.row_rendering import parsed


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n")


def found(folder, config=""):
    splits = raw_folders.find(folder, config)
    return {
        split: [str(file.relative_to(epath.Path(folder))) for file in files]
        for split, files in splits.items()
    }


def save(folder, rows, split, parts):
    """As `datasets.Dataset.save_to_disk` does."""
    folder.mkdir(parents=True)
    names = [f"data-{part:05d}-of-{parts:05d}.arrow" for part in range(parts)]
    size = -(-len(rows) // parts)
    for part, name in enumerate(names):
        table = pa.Table.from_pylist(rows[part * size : (part + 1) * size])
        path = str(folder / name)
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    state = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": "d3ad",
        "_format_type": None,
        "_split": split,
    }
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))


def test_what_datasets_saved(tmp_path):
    rows = [{"n": n, "text": f"é{n}"} for n in range(7)]
    for split in ("train", "test_r1"):
        save(tmp_path / "all" / split, rows, split, 3)
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train", "test_r1"]}')
    splits = raw_folders.find(tmp_path / "all")
    assert list(splits) == ["train", "test_r1"]
    for files in (*splits.values(), raw_folders.find(tmp_path / "all/train")["train"]):
        assert [parsed(row.text) for file in files for row in raw_files.rows(file)] == rows
    named = raw_folders.named({"validation": [str(tmp_path / "all/test_r1")]})
    assert named == {"validation": splits["test_r1"]}
    (tmp_path / "all/train/data-00001-of-00003.arrow").unlink()
    with pytest.raises(FileError, match=r"its state\.json names .*00001-of-00003"):
        raw_folders.find(tmp_path / "all")


@pytest.mark.parametrize(
    "names, expected",
    [
        (  # A repository of the hub.
            [
                "README.md",
                "data/train-00000-of-00002-0a1b.parquet",
                "data/train-00001-of-00002-0c1d.parquet",
                "data/test_r1-00000-of-00001.parquet",
                ".git/train.json",
            ],
            {
                "train": [
                    "data/train-00000-of-00002-0a1b.parquet",
                    "data/train-00001-of-00002-0c1d.parquet",
                ],
                "test_r1": ["data/test_r1-00000-of-00001.parquet"],
            },
        ),
        (  # Its converted form.
            ["plain/train/0000.parquet", "plain/train/0001.parquet", "plain/test/0000.parquet"],
            {
                "train": ["plain/train/0000.parquet", "plain/train/0001.parquet"],
                "test": ["plain/test/0000.parquet"],
            },
        ),
        (  # The cache of `datasets`.
            ["glue-train.arrow", "glue-validation.arrow", "dataset_info.json"],
            {"train": ["glue-train.arrow"], "validation": ["glue-validation.arrow"]},
        ),
        (  # Files by hand.
            ["train_1.csv", "train_2.csv", "dev.csv", "cqa_test.csv", "notes.csv", "license.txt"],
            {
                "train": ["train_1.csv", "train_2.csv"],
                "validation": ["dev.csv"],
                "test": ["cqa_test.csv"],
            },
        ),
        (["Train.jsonl.gz", "val.json"], {"train": ["Train.jsonl.gz"], "validation": ["val.json"]}),
    ],
)
def test_names_tell_splits(tmp_path, names, expected):
    touch(tmp_path, *names)
    assert found(tmp_path) == expected


def test_a_config_is_a_folder_of_the_repository(tmp_path):
    touch(tmp_path, "cb/train.jsonl", "rte/train.jsonl")
    with pytest.raises(FileError, match="several files may be split 'train'"):
        found(tmp_path)
    assert found(tmp_path, "cb") == {"train": ["cb/train.jsonl"]}
    assert found(tmp_path / "cb", "cb") == {"train": ["train.jsonl"]}
    assert found(tmp_path / "cb" / "train.jsonl") == {"train": ["."]}


@pytest.mark.parametrize(
    "names, reason",
    [
        ([], "is not there|holds no file"),
        (["readme.md"], "holds no file whose name ends in one of"),
        (["a.jsonl"], "no file's name tells its split"),
        (["train_test.jsonl"], "no file's name tells its split"),
        (["train.jsonl", "train.parquet"], "several files may be split 'train'"),
        (["train_rand.jsonl", "train_qtoken.jsonl"], "several files may be split 'train'"),
        (["dev_matched.tsv", "dev_mismatched.tsv"], "several files may be split 'validation'"),
        (["train_r1.jsonl", "train_r2x.jsonl"], "several files may be"),
        (
            ["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"],
            "1 of 3 files are missing, the first is number 00001",
        ),
        (
            ["train-00000-of-00001.parquet", "train-00005-of-00001.parquet"],
            "a file of number 00005, but 1 in all",
        ),
        (
            [f"train-0000{part}.parquet" for part in ("0-of-00001", "0-of-00002", "1-of-00002")],
            "several files may be split 'train'",
        ),
    ],
)
def test_what_is_not_clear_is_an_error(tmp_path, names, reason):
    touch(tmp_path, *names)
    with pytest.raises(FileError, match=reason):
        raw_folders.find(tmp_path / "nowhere" if not names else tmp_path)


@pytest.mark.parametrize(
    "name, content",
    [
        ("dataset_dict.json", {"splits": "train"}),
        ("dataset_dict.json", {"splits": [1]}),
        ("dataset_dict.json", {"splits": ["../elsewhere"]}),
        ("state.json", {"_data_files": None}),
        ("state.json", {"_data_files": ["a.arrow"]}),
        ("state.json", {"_data_files": [{"filename": "/etc/hostname"}]}),
        ("state.json", {"_data_files": [{"filename": "../a.arrow"}]}),
    ],
)
def test_metadata_that_leads_elsewhere_or_nowhere(tmp_path, name, content):
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(FileError, match="it must list names of what lies beside it"):
        raw_folders.find(tmp_path)


def test_splits_named_one_by_one(tmp_path):
    touch(tmp_path, "x.jsonl", "y.jsonl", "z/a.jsonl", "z/b.jsonl", "x.txt")
    named = raw_folders.named(
        {"train": [f"{tmp_path}/*.jsonl"], "test": [f"{tmp_path}/z", f"{tmp_path}/x.jsonl"]}
    )
    assert [file.name for file in named["train"]] == ["x.jsonl", "y.jsonl"]
    assert [file.name for file in named["test"]] == ["a.jsonl", "b.jsonl", "x.jsonl"]
    with pytest.raises(FileError, match="no file of rows matches"):
        raw_folders.named({"train": [f"{tmp_path}/*.csv"]})
    with pytest.raises(FileError, match=r"names .*x\.jsonl twice"):
        raw_folders.named({"train": [f"{tmp_path}/x.jsonl", f"{tmp_path}/x*.jsonl"]})
