import pytest
import tensorflow as tf

from teacherlm_jax.data import generators
from teacherlm_jax.data.row_rendering import RowError

NUMBER = {"n": tf.TensorSpec((), tf.int64)}


def failing(error):
    def generate():
        yield {"n": 1}
        raise error

    return generators.from_generator(generate, NUMBER)


def test_elements_come_at_every_pass():
    dataset = generators.from_generator(lambda: ({"n": n} for n in range(3)), NUMBER)
    for _ in range(2):
        assert [int(element["n"]) for element in generators.read(dataset)] == [0, 1, 2]


@pytest.mark.parametrize(
    "error", [RowError("cb.jsonl:3: no {field} 'é'\nsecond line"), FileNotFoundError("no x.jsonl")]
)
def test_an_error_keeps_its_words_and_type_through_layers(error):
    inner = failing(error).batch(2)
    outer = generators.from_generator(
        lambda: ({"n": batch["n"][0]} for batch in inner.as_numpy_iterator()), NUMBER
    )
    for dataset in (failing(error), outer, outer.map(lambda element: element).prefetch(1)):
        with pytest.raises(type(error)) as caught:
            list(generators.read(dataset))
        assert str(caught.value) == str(error)
    with pytest.raises(tf.errors.OpError) as caught:
        list(outer)
    assert str(generators.cause(caught.value)) == str(error)


def test_what_libraries_raise_stays_as_it_is():
    def generate():
        yield {"n": int.from_bytes(b"1", "middle")}

    with pytest.raises(tf.errors.InvalidArgumentError, match="byteorder must be"):
        list(generators.read(generators.from_generator(generate, NUMBER)))
    with pytest.raises(KeyError), generators.surfaced():
        raise KeyError("x")
    assert generators.cause(ValueError("cb.jsonl:3")) is None
