"""Agreement of hosts: asked alone, and by two processes that differ."""

import io
import textwrap

import pytest

from launch import local_launch
from teacherlm_jax.training.agreement import Agreement, Decision


def test_a_lone_host_decides_after_every_step():
    answers = iter([False, True, False])
    agreement = Agreement(lambda: next(answers))
    assert [agreement.after_step() for _ in range(3)] == [
        Decision(False, False),
        Decision(False, True),
        Decision(False, False),
    ]
    agreement.stop_requested = True
    agreement.is_time_to_save = lambda: False
    assert agreement.after_step() == Decision(True, False)


def test_what_failed_in_the_background_is_raised_after_the_step():
    def broken():
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Agreement(check=broken).after_step()


_WORK = """
    import sys, time

    from teacherlm_jax.partitioning import hosts

    assert hosts.initialize_from_environment()

    import jax

    from teacherlm_jax.training.agreement import Agreement

    me = jax.process_index()
    step = 0
    agreement = Agreement(lambda: me == 1 and step >= 3)
    decisions = []
    # Slow steps: every two seconds is soon every step.
    for step in range(1, 9):
        time.sleep(0.6)
        decisions.append(agreement.after_step())
    print("saves", [step for step, decision in enumerate(decisions, 1) if decision.save])
    agreement.is_time_to_save = lambda: False
    agreement.stop_requested = me == 0
    print("stop", agreement.after_step(at_end=True))
    # Quick steps: hosts would ask each other after hundreds more.
    for _ in range(3):
        agreement.after_step(at_end=True)
    print("quick", agreement.after_step())
    agreement.pace_anew()
    print("anew", agreement.after_step())

    def check():
        if me == 1:
            raise OSError("disk full")

    agreement.check = check
    try:
        agreement.after_step(at_end=True)
    except Exception as error:
        print("error", type(error).__name__, error)
"""


_SAID = ("saves", "stop", "quick", "anew", "error")


def test_two_hosts_do_the_same_at_the_same_step():
    output = io.StringIO()
    result = local_launch.launch(
        ["python", "-c", textwrap.dedent(_WORK)], output=output, timeout_seconds=120
    )
    assert result.exit_codes == [0, 0], output.getvalue()
    said = [
        [line for line in text.splitlines() if line.split(" ")[0] in _SAID]
        for text in result.outputs
    ]
    assert said[0][:4] == said[1][:4]
    assert said[0][0] != "saves []"
    assert said[0][1] == "stop Decision(stop=True, save=False)"
    assert said[0][2] == "quick Decision(stop=False, save=False)"
    assert said[0][3] == "anew Decision(stop=True, save=False)"
    assert said[0][4].startswith("error RuntimeError work in the background failed on host 1")
    assert said[1][4] == "error OSError disk full"
