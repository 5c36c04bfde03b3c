import pytest
import seqio

from teacherlm_jax.data import generators, row_source
from teacherlm_jax.data.row_rendering import RowError

ROWS = [(b"{}", 3, "a:1"), (b'{"x": 1}', 5, "a:2"), (b"[]", 8, "b:1")]


class Source(row_source.RowSource):
    def reader(self, split):
        if split == "absent":
            raise FileNotFoundError("not here")
        return lambda: iter(ROWS)


def elements(dataset):
    return [(e["row"], int(e["index"]), e["where"].decode()) for e in dataset.as_numpy_iterator()]


def test_rows_are_elements_in_order_at_every_pass_and_in_parts():
    source = Source(splits=("train", "absent"))
    dataset = source.get_dataset("train")
    assert elements(dataset) == elements(dataset) == ROWS
    parts = [source.get_dataset("train", shard_info=seqio.ShardInfo(n, 2)) for n in range(2)]
    assert [elements(part) for part in parts] == [ROWS[::2], ROWS[1::2]]
    assert source.list_shards("train") == ["train"]
    assert source.num_input_examples("train") is None


def test_a_step_sees_all_rows_and_parts_are_of_what_it_gives():
    source = Source(splits=("train",))
    first_two = source.giving(lambda rows: rows.take(2))
    parts = [first_two.get_dataset("train", shard_info=seqio.ShardInfo(n, 2)) for n in range(2)]
    assert [elements(part) for part in parts] == [ROWS[:1], ROWS[1:2]]
    assert elements(source.get_dataset("train")) == ROWS


def test_what_is_not_there_is_told_before_tensorflow_reads():
    with pytest.raises(FileNotFoundError, match="not here"):
        Source(splits=("absent",)).get_dataset("absent")


def test_an_error_within_the_rows_keeps_its_words():
    def rows():
        yield ROWS[0]
        raise RowError("a:2: no row")

    found = []
    with pytest.raises(RowError, match=r"^a:2: no row$"):
        for element in generators.read(row_source.dataset_of(rows, at_once=1)):
            found.append(element)
    assert len(found) == 1
