"""The loop: batches in, state out, with metrics, saves and a way to stop."""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from teacherlm_jax.data.batches import Arrays, Batches
from teacherlm_jax.metrics.finite import NonFiniteError
from teacherlm_jax.metrics.progress import Progress
from teacherlm_jax.training.state import TrainState

MetricRow = dict[str, Any]

_SECONDS_BETWEEN_AGREEMENTS = 2.0


class StopRequest:
    """Set by Ctrl-C or SIGTERM: the loop ends after the step under way, saved."""

    def __init__(self) -> None:
        self.requested = False
        self._countdown = self._interval = 1
        self._asked_at = time.monotonic()

    def agreed(self, at_end: bool = False) -> bool:
        """Whether to stop after this step: the same answer on every host.

        Signals reach hosts at different steps, and a host that stopped alone would leave the
        others waiting in a collective, so they ask each other. That waits for the device: it is
        done every so many steps, about two seconds by the slowest host's clock.
        """
        if jax.process_count() == 1:
            return self.requested
        self._countdown -= 1
        if self._countdown > 0 and not at_end:
            return False
        seconds = time.monotonic() - self._asked_at
        asked_H2 = multihost_utils.process_allgather(np.asarray([self.requested, seconds]))
        per_step = float(asked_H2[:, 1].max()) / self._interval
        self._interval = self._countdown = int(
            np.clip(_SECONDS_BETWEEN_AGREEMENTS / max(per_step, 1e-6), 1, 1000)
        )
        self._asked_at = time.monotonic()
        return bool(asked_H2[:, 0].any())

    @contextlib.contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Turns SIGINT and SIGTERM into a request while inside; a second SIGINT interrupts."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def on_signal(number: int, frame: Any) -> None:
            if self.requested and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.requested = True

        earlier = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)


@dataclasses.dataclass
class MetricLog:
    """Means of metrics over periods of steps.

    Attributes:
      period: steps that a row covers.
      learning_rate: learning rate of a step, logged with the row.
      rows: {"step", "loss", "accuracy", "gradient_norm", "parameter_norm", "learning_rate",
        "target_tokens", "tokens", "tokens_per_second"}; a list where replicas train together, but
        tokens are those of all of them.
      sums: of the row under way, JSON values. Saved and put back with `rows`, they make the row
        what it would be without a restart.
    """

    period: int
    learning_rate: Callable[[int], float]
    rows: list[MetricRow] = dataclasses.field(default_factory=list)
    sums: dict[str, Any] = dataclasses.field(default_factory=dict)
    _tokens: float = 0.0  # since `_since`, in this process
    _since: float = dataclasses.field(default_factory=time.monotonic)

    def add(self, step: int, metrics: dict[str, Any], is_last: bool) -> MetricRow | None:
        """Takes a step's metrics (numpy); returns a row where a period ends."""
        values = {
            "loss": metrics["loss"].total,
            "accuracy": metrics["accuracy"].total,
            "weight": metrics["loss"].weight,
            "tokens": metrics["tokens"],
        }
        sums = {
            name: np.asarray(value, np.float64) + np.asarray(self.sums.get(name, 0.0))
            for name, value in values.items()
        }
        self._tokens += float(np.sum(metrics["tokens"]))
        if step % self.period and not is_last:
            self.sums = {name: value.tolist() for name, value in sums.items()}
            return None
        weight, now = np.maximum(sums["weight"], 1e-9), time.monotonic()
        row = {
            "step": step,
            "loss": (sums["loss"] / weight).tolist(),
            "accuracy": (sums["accuracy"] / weight).tolist(),
            "gradient_norm": np.asarray(metrics["gradient_norm"], np.float64).tolist(),
            "parameter_norm": np.asarray(metrics["parameter_norm"], np.float64).tolist(),
            "learning_rate": self.learning_rate(step - 1),
            "target_tokens": float(np.sum(sums["weight"])),
            "tokens": float(np.sum(sums["tokens"])),
            "tokens_per_second": self._tokens / max(now - self._since, 1e-9),
        }
        self.sums, self._tokens, self._since = {}, 0.0, now
        self.rows.append(row)
        return row


def _check_finite(step: int, metrics: dict[str, Any], ids: Sequence[str], saved: int) -> None:
    values = {
        "loss": metrics["loss"].total,
        "gradient norm": metrics["gradient_norm"],
        # Of the updated parameters: a finite gradient times a large rate may overflow as well.
        "parameter norm": metrics["parameter_norm"],
    }
    for name, value in values.items():
        if not np.all(np.isfinite(value)):
            raise NonFiniteError(
                f"{name} is {value} at step {step} (examples {', '.join(ids[:4])}"
                f"{', ...' if len(ids) > 4 else ''}); it must be finite. "
                + (f"The last good checkpoint is step {saved}. " if saved else "Nothing is saved. ")
                + "Lower the learning rate or the gradient clip, or look at these examples."
            )


def _prefetched(
    batches: Batches, place: Callable[[Arrays], Any], steps: range
) -> Iterator[tuple[int, list[str], Any]]:
    """Makes the next batch, and puts it onto the mesh, in a thread while a step runs."""

    def make(step: int) -> tuple[list[str], Any]:
        ids, arrays = batches(step)
        return ids, place(arrays)

    with futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make, steps[0]) if len(steps) else None
        for step in steps:
            assert waiting is not None
            ids, placed = waiting.result()
            waiting = pool.submit(make, step + 1) if step + 1 in steps else None
            yield step, ids, placed


@dataclasses.dataclass
class Loop:
    """What a loop works with.

    Attributes:
      step_fn: jitted (state, batch, rng) -> (state, metrics); may donate the state.
      place: puts a batch's arrays onto the mesh.
      save: called with (updates done, state) when a checkpoint is due, and at a stop; the log
        holds the metrics up to there.
      is_due: whether a checkpoint is due after so many updates.
      log: the metric log.
      description: for the progress bar.
    """

    step_fn: Callable[..., Any]
    place: Callable[[Arrays], Any]
    save: Callable[[int, TrainState], None]
    is_due: Callable[[int], bool]
    log: MetricLog
    description: str

    def run(
        self, state: TrainState, batches: Batches, first: int, last: int, rng: jax.Array
    ) -> TrainState:
        """Trains from `first` to `last` updates; step i sees `batches(i)`.

        The metrics of a step are fetched after the next one was dispatched, so that the device
        never waits for the host, but before anything is saved.

        Raises:
          NonFiniteError: names step, examples and the last good checkpoint.
          KeyboardInterrupt: Ctrl-C or SIGTERM came; the state up to there is saved.
        """
        held: tuple[int, list[str], Any] | None = None
        saved = first
        with (
            Progress(self.description, last, done=first) as progress,
            StopRequest().listening() as stop,
        ):
            for index, ids, placed in _prefetched(batches, self.place, range(first, last)):
                state, metrics = self.step_fn(state, placed, rng)
                done = index + 1
                if held is not None:
                    self._record(*held, saved=saved, progress=progress, last=last)
                held = (done, ids, metrics)
                stopping = stop.agreed()
                if self.is_due(done) or stopping:
                    self._record(*held, saved=saved, progress=progress, last=last)
                    held = None
                    self.save(done, state)
                    saved = done
                if stopping:
                    raise KeyboardInterrupt(f"stopped after step {done}, which is saved")
            if held is not None:
                self._record(*held, saved=saved, progress=progress, last=last)
            if stop.agreed(at_end=True):  # It came while the last step was saved.
                raise KeyboardInterrupt(f"stopped after step {last}, which is saved")
        return state

    def _record(
        self,
        done: int,
        ids: list[str],
        metrics: Any,
        *,
        saved: int,
        progress: Progress,
        last: int,
    ) -> None:
        values = jax.device_get(metrics)
        _check_finite(done, values, ids, saved)
        row = self.log.add(done, values, done == last)
        progress.update(done, f"loss {np.mean(row['loss']):.3f}" if row else "")
