import functools
import logging as standard_logging

import jax
import jax.numpy as jnp
import pytest
from absl import logging

from teacherlm_jax.training import profile
from teacherlm_jax.training.profile import Profiler
from tests.object_store import run_on_object_store


@functools.partial(jax.jit, donate_argnums=0)
def update(state):
    return jnp.tanh(state @ state)


def train(profiler, first, last, fails_at=None):
    state = jax.block_until_ready(update(jnp.eye(64)))
    for index in range(first, last):
        with profiler.step(index):
            if index == fails_at:
                raise RuntimeError("the step's own error")
            state = update(state)


def traced_steps(folder):
    """The steps that each trace shows, from its protocol buffer."""
    found = []
    for path in sorted(folder.rglob("*.xplane.pb")):
        planes = jax.profiler.ProfileData.from_file(str(path)).planes
        events = [event for plane in planes for line in plane.lines for event in line.events]
        found.append([dict(event.stats)["step_num"] for event in events if event.name == "train"])
    return found


@pytest.mark.parametrize(
    ("first", "last", "steps"),
    [
        (0, 6, [[3, 4]]),
        (3, 6, [[4]]),  # Resumed within the range.
        (0, 3, [[3]]),  # The run ends within the range.
        (4, 6, []),
        (0, 2, []),
    ],
)
def test_steps_of_the_range_that_this_process_does(tmp_path, first, last, steps):
    with Profiler(profile.step_range((2, 4)), tmp_path) as profiler:
        train(profiler, first, last)
    assert traced_steps(tmp_path) == steps
    traces = list(tmp_path.rglob("*.trace.json.gz"))
    assert len(traces) == len(steps) and all(path.stat().st_size > 0 for path in traces)


def test_an_error_ends_the_trace_and_passes(tmp_path):
    profiler = Profiler(range(2, 5), tmp_path)
    with pytest.raises(RuntimeError, match="the step's own error"):
        train(profiler, 0, 6, fails_at=3)
    assert traced_steps(tmp_path) == [[3, 4]]
    with jax.profiler.trace(str(tmp_path / "another")):  # None is running any more.
        pass


def test_the_trace_holds_what_was_dispatched(tmp_path):
    """The devices' work of the last step is in the trace, though nobody waited for it."""
    slow = jax.jit(lambda x: jax.lax.fori_loop(0, 40, lambda _, y: jnp.sin(y @ y), x))
    x = jax.block_until_ready(slow(jnp.eye(300)))
    with Profiler(range(1), tmp_path) as profiler, profiler.step(0):
        y = slow(x)
    assert y.is_ready()


def test_no_range_is_no_trace(tmp_path):
    with Profiler(profile.step_range(None), tmp_path) as profiler:
        train(profiler, 0, 3)
    assert not list(tmp_path.iterdir())


def test_other_hosts_trace_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    with Profiler(range(2), tmp_path) as profiler:
        train(profiler, 0, 3)
    assert not list(tmp_path.iterdir())


def test_another_trace_that_is_running_costs_a_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    caplog.set_level(standard_logging.WARNING)
    with (
        jax.profiler.trace(str(tmp_path / "another")),
        Profiler(range(2), tmp_path / "ours") as profiler,
    ):
        train(profiler, 0, 3)
    assert "another trace is running" in caplog.text
    assert not (tmp_path / "ours").exists() and traced_steps(tmp_path / "another")


@pytest.mark.parametrize("steps", [(3,), (3, 3), (4, 3), (-1, 3), (0, 1.5), (True, 3), "10", 7])
def test_ranges_that_are_none(steps):
    with pytest.raises(ValueError, match=r"profile_steps = .* must be \(START, STOP\)"):
        profile.step_range(steps)


def test_ranges():
    assert profile.step_range((10, 13)) == profile.step_range([10, 13]) == range(10, 13)


_ON_OBJECT_STORE = """
import jax, jax.numpy as jnp
from teacherlm_jax.training.profile import Profiler

with Profiler(range(1, 2), "gs://bucket/base/profile") as profiler:
    for index in range(3):
        with profiler.step(index):
            jnp.ones(3) + index
"""


def test_traces_go_to_an_object_store(object_store):
    run_on_object_store(object_store, ["-c", _ON_OBJECT_STORE])
    names = list(object_store.buckets["bucket"])
    assert [name for name in names if name.startswith("base/profile/plugins/profile/")]
    assert [name for name in names if name.endswith(".xplane.pb")]
    assert not object_store.refused and not object_store.overwritten
