"""Traces of some steps, for TensorBoard's profile plugin, XProf and Perfetto.

STAGE/profile/plugins/profile/TIME/HOST.xplane.pb, .trace.json.gz  what JAX' profiler writes
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from absl import logging
from etils import epath


def step_range(steps: Sequence[int] | None) -> range:
    """The steps of a setting `profile_steps = (START, STOP)`; none where it is None.

    (10, 13) are the three updates after the tenth: those that rows of metrics call 11, 12 and 13.

    Raises:
      ValueError: it is not a pair of whole numbers with 0 <= START < STOP.
    """
    if steps is None:
        return range(0)
    wholes = isinstance(steps, Sequence) and all(type(step) is int for step in steps)
    if not wholes or len(steps) != 2 or not 0 <= steps[0] < steps[1]:
        raise ValueError(
            f"profile_steps = {steps!r}, but it must be (START, STOP), whole numbers with 0 <= "
            "START < STOP, as (10, 13) for the three updates after the tenth; or None."
        )
    return range(*steps)


class Profiler:
    """Traces the steps of a range, on the first host; use as a context manager.

    What of the range a process does is traced: where it resumes within it, from there; where it
    ends within it, or an error passes, up to there. The step that compiles is best left out of the
    range: its trace is long and shows little. A trace that cannot be made costs a warning and no
    training.
    """

    def __init__(self, steps: range, directory: epath.PathLike) -> None:
        """Traces nothing yet.

        Args:
          steps: of `step_range`.
          directory: the traces' folder.
        """
        self._steps = steps if jax.process_index() == 0 else range(0)
        self._folder = epath.Path(directory)
        self._running: _Trace | None = None

    @contextlib.contextmanager
    def step(self, index: int) -> Iterator[None]:
        """To be put around a step's call.

        At the end of the range it waits for the devices, so that the trace holds whole steps.

        Args:
          index: updates done before it.
        """
        if index not in self._steps:
            self.close()
            yield
            return
        self._start()
        try:
            with jax.profiler.StepTraceAnnotation("train", step_num=index + 1):
                yield
        except BaseException:
            self.close()
            raise
        if index + 1 not in self._steps:
            self.close()

    def close(self) -> None:
        """Ends the trace under way, if there is one, and writes it."""
        trace, self._running = self._running, None
        if trace is None:
            return
        try:
            trace.stop()
            logging.info("A trace of steps %s is in %s.", self._steps, self._folder)
        except Exception as error:
            self._give_up(error)

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self) -> None:
        if self._running is not None:
            return
        try:
            self._running = _Trace(self._folder)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._steps = range(0)
        logging.warning(
            "Steps cannot be traced into %s (%s): training goes on without. Look at the storage's "
            "space and permissions, and whether another trace is running.",
            self._folder,
            error,
        )


class _Trace:
    """A trace under way; on an object store it is written locally and copied."""

    def __init__(self, folder: epath.Path) -> None:
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if "://" in str(folder):
            self._temporary = tempfile.TemporaryDirectory()
        _wait_for_devices()
        jax.profiler.start_trace(self._temporary.name if self._temporary else str(folder))

    def stop(self) -> None:
        with contextlib.suppress(Exception):  # What a step failed with, the step's caller hears.
            _wait_for_devices()
        jax.profiler.stop_trace()
        if self._temporary is None:
            return
        local = epath.Path(self._temporary.name)
        for path in local.glob("plugins/profile/*/*"):
            target = self._folder / str(path.relative_to(local))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        self._temporary.cleanup()


def _wait_for_devices() -> None:
    """Returns when all that was dispatched is done: every array there is waits for its maker."""
    arrays: list[Any] = [array for array in jax.live_arrays() if not array.is_deleted()]
    jax.block_until_ready(arrays)
