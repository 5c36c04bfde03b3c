"""The loop: batches in, state out, with metrics, validation, saves and a way to stop."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import jax

from teacherlm_jax.data.batches import Arrays, Batches
from teacherlm_jax.metrics.progress import Progress
from teacherlm_jax.training import metric_log
from teacherlm_jax.training.agreement import Agreement, Decision
from teacherlm_jax.training.guard import NonFiniteGuard
from teacherlm_jax.training.metric_log import MetricLog, MetricRow
from teacherlm_jax.training.state import TrainState
from teacherlm_jax.training.validation import Validation

Measure = Callable[[str], contextlib.AbstractContextManager[Any]]


def _unmeasured(category: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def _unprofiled(step: int) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def _unwritten(row: MetricRow) -> None:
    pass


def _untold(done: int, saved: int) -> None:
    pass


def _prefetched(
    batches: Batches,
    rows: Sequence[int] | None,
    place: Callable[[Arrays], Any],
    steps: range,
    measure: Measure,
) -> Iterator[tuple[int, list[str], Any]]:
    """Makes the next batch, and puts it onto the mesh, in a thread while a step runs."""

    def make(step: int) -> tuple[list[str], Any]:
        ids, arrays = batches(step, rows)
        return ids, place(arrays)

    with futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make, steps[0]) if len(steps) else None
        for step in steps:
            assert waiting is not None
            with measure("data"):
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
      guard: ends the run after many updates that are not finite.
      description: for the progress bar.
      rows: of the batch, those that this host holds; None: all.
      agreement: what hosts agree on after a step.
      validation: what is measured on other data now and then; None: nothing.
      on_row: called with each finished row, and with each evaluation's.
      measure: context manager around what does not count as a step: "compile", "data", "save",
        "evaluate".
      heartbeat: called with (updates done, updates saved) after every step, and after a save.
      profile: context manager around a step, called with the updates done before it.
    """

    step_fn: Callable[..., Any]
    place: Callable[[Arrays], Any]
    save: Callable[[int, TrainState], None]
    is_due: Callable[[int], bool]
    log: MetricLog
    guard: NonFiniteGuard
    description: str
    rows: Sequence[int] | None = None
    agreement: Agreement = dataclasses.field(default_factory=Agreement)
    validation: Validation | None = None
    on_row: Callable[[MetricRow], None] = _unwritten
    measure: Measure = _unmeasured
    heartbeat: Callable[[int, int], None] = _untold
    profile: Callable[[int], contextlib.AbstractContextManager[Any]] = _unprofiled

    def run(
        self, state: TrainState, batches: Batches, first: int, last: int, rng: jax.Array
    ) -> TrainState:
        """Trains from `first` to `last` updates; step i sees `batches(i)`.

        The metrics of a step are fetched after the next one was dispatched, so that the device
        never waits for the host, but before anything is saved.

        Raises:
          NonFiniteError: names step, examples and the last good checkpoint.
          CheckpointError: a save in the background failed.
          KeyboardInterrupt: Ctrl-C or SIGTERM came; the state up to there is saved.
        """
        held: tuple[int, list[str], Any] | None = None
        stored = good = first
        steps = _prefetched(batches, self.rows, self.place, range(first, last), self.measure)
        with Progress(self.description, last, done=first) as progress, self.agreement.listening():

            def record() -> None:
                nonlocal held
                if held is not None:
                    self._record(*held, saved=good, progress=progress, last=last)
                held = None

            # A process that was stopped before it could evaluate left that to this one.
            if self._is_validated(first, last) and self._validate(first, state).stop:
                raise KeyboardInterrupt(f"stopped after step {first}, which is saved")
            for index, ids, placed in steps:
                compiling = self.measure("compile") if index == first else contextlib.nullcontext()
                with self.profile(index), compiling:
                    state, metrics = self.step_fn(state, placed, rng)
                done = index + 1
                record()
                held = (done, ids, metrics)
                decision = self.agreement.after_step()
                if not decision.stop and self._is_validated(done, last):
                    record()
                    decision = self._validate(done, state)
                is_due = self.is_due(done) or decision.save
                if is_due or decision.stop:
                    record()
                # While updates are left out nothing new is learned, and what the parameters were
                # spoilt by may be in them: older checkpoints are not pushed out by such ones.
                is_good = self.guard.in_row == 0
                if decision.stop or done == last or is_due and is_good:
                    with self._apart("save"):
                        self.save(done, state)
                    stored, good = done, done if is_good else good
                self.heartbeat(done, stored)
                if decision.stop:
                    raise KeyboardInterrupt(f"stopped after step {done}, which is saved")
            record()
            if self.agreement.after_step(at_end=True).stop:  # Asked while the last was saved.
                raise KeyboardInterrupt(f"stopped after step {last}, which is saved")
        return state

    def _is_validated(self, done: int, last: int) -> bool:
        """Whether an evaluation is due after so many updates, and was not done."""
        if self.validation is None or not done:
            return False
        evaluations = self.log.evaluations
        if evaluations and evaluations[-1]["step"] == done:
            return False
        return done == last or done % self.validation.period == 0

    def _validate(self, done: int, state: TrainState) -> Decision:
        """Evaluates; gives up where somebody asks to stop, since that may take long."""
        assert self.validation is not None
        decision = Decision(stop=False, save=False)

        def is_stopped() -> bool:
            nonlocal decision
            decision = self.agreement.after_step()
            return decision.stop

        self.agreement.pace_anew()
        with self._apart("evaluate"):
            found = self.validation.run(state.params, is_stopped)
        if found is not None:
            row = {"step": done, **found}
            self.log.evaluations.append(row)
            self.on_row(row)
        return decision

    @contextlib.contextmanager
    def _apart(self, category: str) -> Iterator[None]:
        """Around what is no step, and so counts in no rate of steps."""
        with self.measure(category), self.log.paused():
            yield

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
        self.guard.check(done, values, ids, saved)
        row = self.log.add(done, values, done == last)
        loss = metric_log.scalars(row).get("loss") if row else None
        progress.update(done, "" if loss is None else f"loss {loss:.3f}")
        if row:
            self.on_row(row)
