import numpy as np
import pytest
import tensorflow_datasets as tfds

from teacherlm_jax.data import split_slices

COUNTS = {"train": 250, "validation": 7, "test_r1": 0}


@pytest.mark.parametrize(
    "bounds",
    [":-200", "-200:", "30:50", "100:100", "10%:", ":-33%", "-1%:", "25%:75%", "1%:2%"],
)
def test_slices_are_those_of_tfds_and_numpy(bounds):
    spec = f"train[{bounds}]"
    info = tfds.core.SplitInfo(
        name="train", shard_lengths=[100, 150], num_bytes=0, filename_template=None
    )
    told = tfds.core.ReadInstruction.from_spec(spec).to_absolute({"train": info})
    expected = [
        ("train", one.from_ or 0, COUNTS["train"] if one.to is None else one.to) for one in told
    ]
    assert split_slices.ranges(spec, COUNTS) == expected
    assert split_slices.count(spec, COUNTS) == sum(last - first for _, first, last in expected)
    if "%" not in bounds:
        first, last = (int(bound) if bound else None for bound in bounds.split(":"))
        ((_, low, high),) = split_slices.ranges(spec, COUNTS)
        assert np.array_equal(np.arange(250)[first:last], np.arange(low, high))


@pytest.mark.parametrize("first", [-999, -3, 0, 5, 8, None])
@pytest.mark.parametrize("last", [-999, -3, 0, 5, 8, None])
def test_bounds_beyond_the_ends_are_those_of_lists(first, last):
    text = f"validation[{'' if first is None else first}:{'' if last is None else last}]"
    ((_, low, high),) = split_slices.ranges(text, COUNTS)
    assert list(range(7))[first:last] == list(range(low, high))


def test_sums_keep_their_order():
    spec = "validation[:2] + train[-1:]+test_r1"
    assert split_slices.ranges(spec, COUNTS) == [
        ("validation", 0, 2),
        ("train", 249, 250),
        ("test_r1", 0, 0),
    ]
    assert split_slices.splits_of(spec) == ["validation", "train", "test_r1"]
    assert split_slices.count(spec, {"train": 1}) is None


@pytest.mark.parametrize("spec", ["train[", "train[3]", "train[a:]", "", "train+", "train[:1.5]"])
def test_what_is_no_slice_is_refused(spec):
    with pytest.raises(ValueError, match="is no split or slice: write one"):
        split_slices.splits_of(spec)


def test_a_split_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"no split 'dev'; there are \['train'\]"):
        split_slices.ranges("dev[:3]", {"train": 4})
