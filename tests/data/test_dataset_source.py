import json
import re

import numpy as np
import pytest
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.utils import file_utils

from teacherlm_jax.data import (
    dataset_source,
    default_vocabulary,
    generators,
    mirror_writing,
    seeded_order,
    tokenization,
)
from teacherlm_jax.data.dataset_source import DatasetSource, MissingDataError
from teacherlm_jax.data.mirror import MirrorError
from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks import text_tasks
from tests.data import tiny_tfds

SPLITS = {"train": "train[:-5]", "validation": "train[-5:]", "both": "validation+train[:3]"}
NUMBERS = {
    "train": list(range(20)),
    "validation": list(range(20, 25)),
    "both": [*range(7), 0, 1, 2],
}


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    tiny_tfds.prepare(path)
    return path


@pytest.fixture(params=["tfds", "jsonl", "array_record"])
def kind(request, tfds_folder, tmp_path, monkeypatch):
    """The same rows, prepared by TFDS or in a mirror."""
    monkeypatch.setattr(file_utils, "_REGISTERED_DATA_DIRS", {tfds_folder})
    monkeypatch.setenv("TEACHERLM_DATA_DIR", str(tmp_path / "data"))
    if request.param != "tfds":
        origin = mirror_writing.of_tfds(tiny_tfds.NAME, list(tiny_tfds.COUNTS))
        settings = mirror_writing.Settings(request.param, shard_bytes=500)
        mirror_writing.write(tmp_path / "data" / "tiny", origin, settings)
        monkeypatch.setattr(file_utils, "_REGISTERED_DATA_DIRS", set())
    return request.param


def source(**arguments):
    arguments = {"tfds": tiny_tfds.NAME, "counts": tiny_tfds.COUNTS, **arguments}
    return DatasetSource("tiny", arguments.pop("splits", SPLITS), **arguments)


def read(found, split, **arguments):
    return [
        (json.loads(element["row"]), int(element["index"]), element["where"].decode())
        for element in found.get_dataset(split, **arguments).as_numpy_iterator()
    ]


@pytest.mark.parametrize("split", SPLITS)
def test_rows_of_slices_in_order_with_places(kind, split):
    found = read(source(), split)
    assert [row for row, *_ in found] == [tiny_tfds.row(number) for number in NUMBERS[split]]
    assert [index for _, index, _ in found] == list(range(len(found)))
    assert source().num_input_examples(split) == len(found)
    where = f"{tiny_tfds.NAME} {split}:4" if kind == "tfds" else f".{kind}:"
    assert where in found[4][2]


@pytest.mark.parametrize("spec", ["train[:0]", "train[90:]", "train[9:3]"])
def test_slices_without_rows_are_errors(kind, spec):
    with pytest.raises(ValueError, match=rf"{re.escape(repr(spec))}.* no rows.*'train': 2\d"):
        source(splits={"train": spec}, max_examples={"train": 3}).get_dataset("train")


def test_a_cap_is_a_fixed_part_that_smaller_caps_lie_in(kind):
    capped = source(max_examples={"train": 6, "validation": 99})
    found = read(capped, "train")
    places = [index for _, index, _ in found]
    assert places == seeded_order.named_sample(20, 6, 0, "tiny").tolist()
    assert [row["number"] for row, *_ in found] == places  # train[:-5] begins at row 0
    assert read(capped, "train") == found == read(capped, "train", seed=7, shuffle=True)
    assert capped.num_input_examples("train") == 6 and capped.num_input_examples("validation") == 5
    smaller = [index for _, index, _ in read(source(max_examples={"train": 2}), "train")]
    assert len(smaller) == 2 and set(smaller) < set(places)
    others = (
        source(max_examples={"train": 6}, cap_seed=1),
        source(max_examples={"train": 6}, cap_name="prompt"),
    )
    for other in others:
        assert {index for _, index, _ in read(other, "train")} != set(places)


def test_shards_of_seqio_hold_every_row_once(kind):
    shards = [read(source(), "train", shard_info=seqio.ShardInfo(index, 3)) for index in range(3)]
    assert sorted(index for shard in shards for _, index, _ in shard) == list(range(20))


def test_counts_that_differ_are_told_of_once(kind, caplog, monkeypatch):
    monkeypatch.setattr(dataset_source, "_told", set())
    with caplog.at_level("WARNING"):
        for _ in range(2):
            source(counts={"train": 24, "validation": 7}).get_dataset("train")
            assert not caplog.messages  # 4 % may differ.
        for _ in range(2):
            source(counts={"train": 30}).get_dataset("train")
    (message,) = caplog.messages
    assert "split 'train' has 25 rows" in message and "say 30" in message


def test_what_is_not_here_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHERLM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(file_utils, "_REGISTERED_DATA_DIRS", set())
    mirrored = f"teacherlm data mirror tiny --from FOLDER --to {tmp_path}/tiny"
    manual = source(hub="owner/tiny/config", manual="put x.zip into MANUAL_DIR")
    with pytest.raises(MissingDataError) as caught:
        manual.get_dataset("train")
    for part in (
        "'tiny' is not here",
        f"teacherlm data mirror tiny --prepare --to {tmp_path}/tiny",
        "put x.zip into MANUAL_DIR",
        "'owner/tiny/config' from the Hugging Face hub",
        mirrored,
        "TEACHERLM_DATA_DIR",
    ):
        assert part in str(caught.value)
    with pytest.raises(MissingDataError) as caught:
        source(tfds=None).get_dataset("train")
    assert mirrored in str(caught.value) and "--prepare" not in str(caught.value)
    assert source().num_input_examples("train") == 20  # By the tables.
    assert source(counts={}).num_input_examples("train") is None
    with pytest.raises(ValueError, match="'tiny' has no split 'test'; it has train, validation"):
        source().get_dataset("test")


def test_definitions_are_checked():
    with pytest.raises(ValueError, match="is no split or slice"):
        source(splits={"train": "train[5]"})
    for most in (0, -1, 1.5, "30", None, True):
        with pytest.raises(ValueError, match=rf"max_examples\['train'\] = {most!r}, but it must"):
            source(max_examples={"train": most})
    with pytest.raises(ValueError, match="has no split 'tain'"):
        source(max_examples={"tain": 3})
    for seed in (-1, 1.5, "a", None):  # Without a seed, numpy draws one that nobody knows.
        with pytest.raises(ValueError, match=f"cap_seed = {seed!r}, but it must"):
            source(cap_seed=seed)
    with pytest.raises(ValueError, match=r"'\.\./tiny' cannot name a mirror"):
        DatasetSource("../tiny", {"train": "train"})


def test_mocks_of_tfds_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHERLM_DATA_DIR", str(tmp_path))
    found = DatasetSource("cb", {"train": "train[:-50]"}, tfds="super_glue/cb:1.0.2")
    capped = DatasetSource(
        "cb", {"train": "train[:-50]"}, tfds="super_glue/cb:1.0.2", max_examples={"train": 4}
    )
    with tfds.testing.mock_data(num_examples=9):
        assert [index for _, index, _ in read(found, "train")] == list(range(9))
        places = [index for _, index, _ in read(capped, "train")]
    assert places == seeded_order.named_sample(9, 4, 0, "cb").tolist()


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A task over a mirror with a row that is malformed for it."""
    monkeypatch.setenv("TEACHERLM_DATA_DIR", str(tmp_path))
    lines = [{"q": "one"}, {"q": "two"}, {"answer": 3}, {"q": "four"}]
    path = epath.Path(tmp_path / "train.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    mirror_writing.write(tmp_path / "qa", mirror_writing.of_files({"train": [path]}))
    default_vocabulary.forget()
    default_vocabulary.choose(seqio.ByteVocabulary())

    def make(row):
        yield {"id": str(row.index), "inputs": row.values["q"], "targets": "yes"}

    yield text_tasks.add_training_task(
        "tests_dataset_source_qa", DatasetSource("qa", {"train": "train"}), make
    )
    seqio.TaskRegistry.remove("tests_dataset_source_qa")
    default_vocabulary.forget()


def test_users_are_told_the_row_in_its_own_words(task, tmp_path):
    with pytest.raises(RowError) as caught:
        list(tokenization.tokenized_rows(task, "train"))
    assert str(caught.value) == f"{tmp_path}/qa/train-00000.jsonl:3: no field 'q'."
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        list(task.get_dataset(None, "train", shuffle=False))
    from teacherlm_jax.main import terminal

    assert terminal.is_user_error(raised.value)
    assert terminal.message_of(raised.value) == str(caught.value)


def test_a_damaged_mirror_is_told_of_through_seqio(task, tmp_path):
    file = tmp_path / "qa" / "train-00000.jsonl"
    file.write_text(file.read_text().replace("one", "0ne"))
    with pytest.raises(MirrorError, match=r"train-00000\.jsonl was damaged or changed"):
        list(tokenization.tokenized_rows(task, "train"))


def test_rows_are_streamed(tmp_path, monkeypatch):
    """A source of which the first rows are taken reads no more than a block or two of them."""
    monkeypatch.setenv("TEACHERLM_DATA_DIR", str(tmp_path))
    read_rows = []

    class Rows:
        counts = {"train": 10**9}
        folder = tmp_path

        def count(self, spec):
            return 10**9

        def rows(self, spec, chosen):
            for number in range(10**9):
                read_rows.append(number)
                yield b"{}", number, f"x:{number}"

    monkeypatch.setattr(dataset_source.mirror, "find", lambda name: Rows())
    dataset = DatasetSource("x", {"train": "train"}).get_dataset("train").take(3)
    assert len(list(generators.read(dataset))) == 3
    assert len(read_rows) < 10_000 and np.array_equal(read_rows[:3], [0, 1, 2])
