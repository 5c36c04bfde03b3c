"""tf.data over Python generators, whose errors keep their own words.

What a generator raises leaves TensorFlow as an `InvalidArgumentError` around a traceback. Here the
error is remembered where it is raised, so that whoever reads the dataset can be told it again.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

# Several datasets may fail at once, each in a thread of its own.
_raised: collections.deque[Exception] = collections.deque(maxlen=32)


def from_generator(generate: Callable[[], Iterator[Any]], signature: Mapping[str, Any]) -> Any:
    """A dataset of what a generator yields; `surfaced` and `cause` know what it raises.

    Args:
      generate: called at every pass.
      signature: name -> tf.TensorSpec or tf.RaggedTensorSpec.
    """
    import tensorflow as tf

    def watched() -> Iterator[Any]:
        try:
            with surfaced():
                yield from generate()
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) or _is_ours(error):
                # A copy: the traceback would keep all that its frames hold.
                _raised.append(copy.copy(error))
            raise

    return tf.data.Dataset.from_generator(watched, output_signature=dict(signature))


def _is_ours(error: Exception) -> bool:
    """Whether it is made by our code; what a library raises from its depths keeps its traceback."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    modules = (type(error).__module__, str(frame.f_globals.get("__name__")))
    return any(module.partition(".")[0] == "teacherlm_jax" for module in modules)


def cause(error: BaseException) -> Exception | None:
    """The error of a generator that stands behind one of TensorFlow's; None: there is none."""
    if not type(error).__module__.startswith("tensorflow"):
        return None
    text = str(error)
    for raised in reversed(_raised):
        if str(raised) and str(raised) in text:
            return raised
    return None


def read(dataset: Iterable[Any]) -> Iterator[Any]:
    """Elements of a dataset; raises the error of a generator in its own words."""
    with surfaced():
        yield from dataset


@contextlib.contextmanager
def surfaced() -> Iterator[None]:
    """Raises the error of a generator instead of TensorFlow's account of it."""
    try:
        yield
    except Exception as error:
        found = cause(error)
        if found is None:
            raise
        raise found from None
