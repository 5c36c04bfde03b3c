"""The loop: order of batches, metrics, saves, bad losses and ways to stop."""

import contextlib
import json
import os
import signal
import threading
import types

import numpy as np
import pytest

from teacherlm_jax.metrics.finite import NonFiniteError
from teacherlm_jax.metrics.sums import WeightedSum
from teacherlm_jax.training import loop as loop_lib
from teacherlm_jax.training import metric_log
from teacherlm_jax.training.guard import NonFiniteGuard


def metrics_of(step, **changes):
    """Metrics of a step as the jitted step gives them; every step weighs otherwise."""
    weight = np.float32(1 + step % 3)
    values = {
        "loss": np.float32(10 - step) * weight,
        "accuracy": np.float32(0.5) * weight,
        "tokens": np.float32(2 * step + 1),
        "gradient_norm": np.float32(step),
        "parameter_norm": np.float32(100 + step),
        **changes,
    }
    is_finite = np.isfinite(values["loss"]) & np.isfinite(values["gradient_norm"])
    values.setdefault("skipped", np.float32(~is_finite))
    for name in ("loss", "accuracy"):
        values[name] = WeightedSum(values[name], weight)
    return values


class Run:
    """A loop whose state is the number of updates done; keeps what happened."""

    def __init__(self, *, period=4, save_period=1000, last=10, on_step=None, most_in_row=1):
        self.log = metric_log.MetricLog(period, lambda step: 0.5 * step)
        self.saved, self.seen, self.made = [], [], []
        self.on_step = on_step or (lambda step: metrics_of(step))
        self.last = last
        self.loop = loop_lib.Loop(
            step_fn=self.step,
            place=lambda arrays: {name: array + 1 for name, array in arrays.items()},
            save=self.save,
            is_due=lambda step: step == last or step % save_period == 0,
            log=self.log,
            guard=NonFiniteGuard(most_in_row),
            description="test",
        )

    def batches(self, step, rows=None):
        self.made.append(step)
        return [f"table:{step}", f"table:{step}b"], {"x": np.array(step)}

    def step(self, state, arrays, rng):
        assert rng == "noise"
        self.seen.append(int(arrays["x"]) - 1)
        return state + 1, self.on_step(state + 1)

    def save(self, step, state):
        self.saved.append((step, state, len(self.log.rows)))

    def run(self, first=0):
        return self.loop.run(first, self.batches, first, self.last, "noise")

    @property
    def saved_steps(self):
        return [step for step, _, _ in self.saved]


# Batches


def test_every_step_sees_its_own_batch_once():
    run = Run(last=7)
    assert run.run() == 7
    assert run.seen == run.made == list(range(7))


def test_a_later_start_sees_the_batches_from_there():
    run = Run(last=7)
    assert run.run(first=4) == 7
    assert run.seen == run.made == [4, 5, 6]


def test_nothing_is_left_to_do():
    run = Run(last=7)
    assert run.run(first=7) == 7
    assert run.made == run.saved == run.log.rows == []


def test_the_next_batch_is_made_while_a_step_runs():
    made = {step: threading.Event() for step in range(6)}

    def wait_for_next(step):
        assert step == run.last or made[step].wait(10)
        return metrics_of(step)

    run = Run(last=5, on_step=wait_for_next)
    batches = run.batches
    run.batches = lambda step, rows: (made[step].set(), batches(step))[1]
    assert run.run() == 5
    assert run.made == list(range(5))


def test_an_error_in_a_batch_is_raised():
    run = Run(last=5)

    def broken(step):
        raise OSError("disk gone")

    good = run.batches
    run.batches = lambda step, rows: broken(step) if step == 3 else good(step)
    with pytest.raises(OSError, match="disk gone"):
        run.run()
    assert run.seen == [0, 1, 2]


# Saves and metrics


def test_saves_come_when_due_with_the_rows_up_to_there():
    run = Run(period=4, save_period=3, last=10)
    run.run()
    assert run.saved == [(3, 3, 0), (6, 6, 1), (9, 9, 2), (10, 10, 3)]


def test_rows_are_means_over_tokens_of_the_steps_of_a_period():
    run = Run(period=4, last=10)
    run.run()
    assert [row["step"] for row in run.log.rows] == [4, 8, 10]
    for row, steps in zip(run.log.rows, ([1, 2, 3, 4], [5, 6, 7, 8], [9, 10]), strict=True):
        weights = np.array([1 + step % 3 for step in steps], np.float64)
        losses = np.array([10 - step for step in steps], np.float64)
        assert row["loss"] == pytest.approx(np.average(losses, weights=weights), rel=1e-12)
        assert row["accuracy"] == 0.5
        assert row["target_tokens"] == weights.sum()
        assert row["tokens"] == sum(2 * step + 1 for step in steps)
        assert row["gradient_norm"] == steps[-1]
        assert row["parameter_norm"] == 100 + steps[-1]
        assert row["learning_rate"] == 0.5 * (steps[-1] - 1)
        assert row["tokens_per_second"] > 0
    assert json.loads(json.dumps(run.log.rows)) == run.log.rows


# Bad losses


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": np.float32(np.nan)}, "loss is nan"),
        ({"loss": np.float32(np.inf)}, "loss is inf"),
        ({"gradient_norm": np.float32(np.nan)}, "gradient norm is nan"),
        ({"parameter_norm": np.float32(np.inf)}, "parameter norm is inf"),
    ],
)
@pytest.mark.parametrize(("bad", "good"), [(5, 4), (6, 4)])
def test_what_is_not_finite_ends_the_run_and_is_never_saved(changes, message, bad, good):
    run = Run(
        save_period=2,
        on_step=lambda step: metrics_of(step, **(changes if step >= bad else {})),
    )
    with pytest.raises(NonFiniteError, match=f"{message} at step {bad} ") as caught:
        run.run()
    assert f"(examples table:{bad - 1}, table:{bad - 1}b)" in str(caught.value)
    assert f"last good checkpoint is step {good}." in str(caught.value)
    assert run.saved_steps == [2, 4]


def test_the_last_good_checkpoint_may_be_of_an_earlier_process_or_of_none():
    def nan(step):
        return metrics_of(step, loss=np.float32(np.nan))

    with pytest.raises(NonFiniteError, match=r"at step 1 .*Nothing is saved"):
        Run(on_step=nan).run()
    with pytest.raises(NonFiniteError, match=r"at step 8 .*checkpoint is step 7"):
        Run(on_step=nan).run(first=7)


def test_one_bad_replica_ends_the_run_and_long_lists_of_examples_are_cut():
    run = Run(on_step=lambda step: metrics_of(step, gradient_norm=np.array([1.0, np.nan])))
    run.batches = lambda step, rows: ([f"e{row}" for row in range(9)], {"x": np.array(step)})
    with pytest.raises(NonFiniteError, match=r"\(examples e0, e1, e2, e3, \.\.\.\)"):
        run.run()


def bad_between(first, last):
    nan = {"loss": np.float32(np.nan)}
    return lambda step: metrics_of(step, **(nan if first <= step <= last else {}))


def test_updates_that_are_not_finite_are_counted_and_the_run_goes_on():
    run = Run(period=5, last=10, on_step=bad_between(3, 5), most_in_row=4)
    assert run.run() == 10
    assert [row["skipped"] for row in run.log.rows] == [3, 0]
    weights = np.array([1 + step % 3 for step in (1, 2)], np.float64)
    assert run.log.rows[0]["loss"] == pytest.approx(np.average([9, 8], weights=weights), rel=1e-12)
    # The schedule waits with the optimizer.
    assert [row["learning_rate"] for row in run.log.rows] == [0.5 * 1, 0.5 * 6]
    assert run.loop.guard.in_row == 0


def test_many_in_a_row_end_the_run_and_a_restart_counts_on():
    run = Run(on_step=bad_between(3, 9), most_in_row=4, save_period=5)
    with pytest.raises(NonFiniteError, match=r"loss is nan at step 6 .*, the 4th update in a row"):
        run.run()
    assert run.saved_steps == []  # Good checkpoints are not pushed out by such as these.
    again = Run(on_step=bad_between(3, 9), most_in_row=4)
    again.loop.guard.in_row = 3
    with pytest.raises(NonFiniteError, match=r"loss is nan at step 6 .*checkpoint is step 5\."):
        again.run(first=5)


def test_parameters_that_are_not_finite_end_the_run_at_once():
    run = Run(
        on_step=lambda step: metrics_of(step, parameter_norm=np.float32(np.inf)), most_in_row=9
    )
    with pytest.raises(NonFiniteError, match="parameter norm is inf at step 1 "):
        run.run()
    assert run.saved == []


# Validation


class FakeValidation:
    period = 4

    def run(self, params, is_stopped):
        return None if is_stopped() else {"validation_loss": float(params)}


def validated(on_step=None, **settings):
    """A run with validation, whose state is an object that holds the number of updates."""
    run = Run(**settings)
    run.loop.validation = FakeValidation()

    def step(at, arrays, rng):
        if on_step is not None:
            on_step(at.params + 1)
        return types.SimpleNamespace(params=at.params + 1), metrics_of(at.params + 1)

    run.loop.step_fn = step
    run.start = lambda at: run.loop.run(
        types.SimpleNamespace(params=at), run.batches, at, run.last, "noise"
    )
    return run


def test_validation_comes_on_its_period_at_the_end_and_before_a_save():
    run = validated(save_period=4)
    seen, saved = [], []
    run.loop.on_row = seen.append
    run.loop.save = lambda step, state: saved.append((step, len(run.log.evaluations)))
    run.start(0)
    expected = [{"step": step, "validation_loss": float(step)} for step in (4, 8, 10)]
    assert run.log.evaluations == expected
    assert saved == [(4, 1), (8, 2), (10, 3)]
    assert [row["step"] for row in seen] == [4, 4, 8, 8, 10, 10]


@pytest.mark.parametrize("stop", [4, 8, 10])
def test_an_evaluation_that_a_stop_prevented_is_made_up_for(stop):
    def kill(step):
        if step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    run = validated(on_step=kill)
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {stop}"):
        run.start(0)
    assert all(row["step"] < stop for row in run.log.evaluations)
    run.loop.step_fn = validated().loop.step_fn
    run.start(stop)
    assert [row["step"] for row in run.log.evaluations] == [4, 8, 10]


def test_an_evaluation_gives_up_when_it_is_told_to_stop():
    run = validated()
    evaluate = run.loop.validation.run

    def slow(params, is_stopped):
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(params, is_stopped)

    run.loop.validation.run = slow
    with pytest.raises(KeyboardInterrupt, match="stopped after step 4, which is saved"):
        run.start(0)
    assert run.log.evaluations == [] and run.saved_steps == [4]


# Measures


def test_what_is_no_step_is_measured_apart():
    run = Run(save_period=5)
    spent = []

    @contextlib.contextmanager
    def measure(category):
        spent.append(category)
        yield

    run.loop.measure = measure
    run.run()
    assert spent.count("compile") == 1 and spent[:2] == ["data", "compile"]
    assert spent.count("data") == 10 and spent.count("save") == 2


# Stops


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_step_saved(number):
    def kill_at_3(step):
        if step == 3:
            os.kill(os.getpid(), number)
        return metrics_of(step)

    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    run = Run(on_step=kill_at_3)
    with pytest.raises(KeyboardInterrupt, match="after step 3, which is saved"):
        run.run()
    assert run.saved == [(3, 3, 0)]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert run.run(first=3) == 10
    assert run.saved_steps == [3, 10]


def test_a_stop_at_a_step_that_is_due_saves_once():
    def kill_at_4(step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return metrics_of(step)

    run = Run(save_period=2, on_step=kill_at_4)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert run.saved_steps == [2, 4]


def test_a_signal_during_the_last_save_is_not_lost():
    run = Run(save_period=5)
    save = run.loop.save

    def save_and_kill(step, state):
        save(step, state)
        if step == 10:
            os.kill(os.getpid(), signal.SIGINT)

    run.loop.save = save_and_kill
    with pytest.raises(KeyboardInterrupt, match="after step 10, which is saved"):
        run.run()
    assert run.saved_steps == [5, 10]


def test_a_bad_loss_is_not_saved_by_a_stop_either():
    def kill_at_3(step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return metrics_of(step, loss=np.float32(np.nan if step == 3 else 1.0))

    run = Run(on_step=kill_at_3)
    with pytest.raises(NonFiniteError, match="at step 3"):
        run.run()
    assert run.saved == []


def test_a_second_ctrl_c_interrupts_at_once():
    def kill_twice(step):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return metrics_of(step)

    run = Run(on_step=kill_twice)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert run.saved == [] and run.log.rows == []


def test_a_loop_in_another_thread_leaves_signals_alone():
    before = signal.getsignal(signal.SIGINT)
    handlers = []

    def note_handler(step):
        handlers.append(signal.getsignal(signal.SIGINT))
        return metrics_of(step)

    run = Run(on_step=note_handler)
    thread = threading.Thread(target=run.run)
    thread.start()
    thread.join()
    assert run.saved_steps == [10]
    assert set(handlers) == {before}
