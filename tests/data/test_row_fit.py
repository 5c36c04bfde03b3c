"""What rows of a length make of tasks; that it is what training does: test_length_statistics."""

import pytest

from teacherlm_jax.data import row_fit
from teacherlm_jax.data.row_format import RowFormat
from tests.data.test_length_statistics import table


def test_a_task_that_does_not_fit_at_all_is_never_seen():
    short, long = table("short", [(2, 3)] * 4), table("long", [(2, 30)] * 5)
    fit = row_fit.fit_of([short, long], [0.25, 0.75], RowFormat(12), 0)
    assert fit.too_long == {"long": 5} and fit.examples_per_row == 2
    schedule = row_fit.schedule_of(10, 4, fit, pack=True)
    assert schedule["draws"] == 80 and schedule["tokens"] == 40 * 12 * fit.fill_packed
    assert row_fit.times_seen([short, long], [0.25, 0.75], fit, 80) == [80, 0]
    assert row_fit.times_seen([short, long], [0.25, 0.75], fit, None) == [None, None]


def test_epochs_are_of_what_fits():
    half, all_ = table("half", [(2, 3), (2, 30)] * 4), table("all", [(2, 3)] * 5)
    fit = row_fit.fit_of([half, all_], [0.5, 0.5], RowFormat(12), 0)
    assert row_fit.times_seen([half, all_], [0.5, 0.5], fit, 80) == [pytest.approx(80), 40]


def test_where_nothing_fits_nothing_is_seen():
    long = table("long", [(2, 30)] * 5)
    fit = row_fit.fit_of([long], [1.0], RowFormat(12), 0)
    assert row_fit.schedule_of(10, 4, fit, pack=False)["tokens"] == 0
    assert row_fit.times_seen([long], [1.0], fit, 40) == [None]
