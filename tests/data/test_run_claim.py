"""Folders that whoever starts takes, until their report is there."""

import json

import pytest

from teacherlm_jax.data import claim, ledger, run_claim

SETTINGS = {"threshold": 0.8, "fields": ("a", "b"), "module": None}
REPORT = "report.json"


def write_report(claimed):
    claimed.check()
    text = json.dumps({run_claim.SETTINGS: claimed.settings, "rows": 3})
    ledger.write_whole(claimed.folder / REPORT, text)


def test_a_report_is_of_the_settings_that_made_it(tmp_path):
    assert run_claim.finished(tmp_path / "new", REPORT, SETTINGS) is None
    claimed = run_claim.take(tmp_path / "new", SETTINGS)
    assert run_claim.finished(tmp_path / "new", REPORT, SETTINGS) is None
    write_report(claimed)
    report = run_claim.finished(tmp_path / "new", REPORT, SETTINGS)
    assert report["rows"] == 3
    with pytest.raises(claim.ConfigurationMismatchError, match=r"has 0.8, this run has 0.5"):
        run_claim.finished(tmp_path / "new", REPORT, {**SETTINGS, "threshold": 0.5})


def test_what_the_configuration_says_is_not_taken_for_what_made_the_report(tmp_path):
    other = {**SETTINGS, "threshold": 0.5}
    write_report(run_claim.take(tmp_path, SETTINGS))
    run_claim.take(tmp_path, other)
    with pytest.raises(claim.ConfigurationMismatchError):
        run_claim.finished(tmp_path, REPORT, other)


@pytest.mark.parametrize("threshold", [0.8, 0.5])
def test_a_run_whose_folder_another_took_stops(threshold, tmp_path):
    first = run_claim.take(tmp_path, SETTINGS)
    first.check()
    second = run_claim.take(tmp_path, {**SETTINGS, "threshold": threshold})
    with pytest.raises(run_claim.FolderTakenError, match="another run took") as caught:
        write_report(first)
    assert ("its threshold is 0.5, this run's is 0.8" in str(caught.value)) == (threshold == 0.5)
    write_report(second)


def test_a_run_whose_folder_another_is_taking_stops(tmp_path):
    first = run_claim.take(tmp_path, SETTINGS)
    ledger.remove(tmp_path / claim.CONFIGURATION_NAME)
    with pytest.raises(run_claim.FolderTakenError, match="another run took"):
        first.check()


def test_a_folder_of_something_else_is_not_taken(tmp_path):
    claim.claim_folder(tmp_path, {"model": "tiny"})
    with pytest.raises(claim.ConfigurationMismatchError, match="model: folder has 'tiny'"):
        run_claim.take(tmp_path, SETTINGS)


def test_reports_of_before_settings_were_written_into_them(tmp_path):
    claim.claim_folder(tmp_path, SETTINGS)
    ledger.write_whole(tmp_path / REPORT, json.dumps({"rows": 3}))
    assert run_claim.finished(tmp_path, REPORT, SETTINGS) == {"rows": 3}
    with pytest.raises(claim.ConfigurationMismatchError):
        run_claim.finished(tmp_path, REPORT, {**SETTINGS, "module": "mine"})
