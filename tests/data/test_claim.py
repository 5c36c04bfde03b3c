"""An output folder belongs to one configuration."""

import json

import pytest
from etils import epath

from teacherlm_jax.data import claim

CONFIGURATION = {
    "model": {"emb_dim": 16, "norm": "rmsnorm"},
    "stages": [{"name": "base", "rate": 0.1}, {"name": "corpus", "rate": 1e-3}],
    "lengths": (8, 6),
    "bos_id": None,
    "note": "süß",
    "free": {},
}


def changed(**changes):
    return json.loads(json.dumps({**CONFIGURATION, **changes}))


def test_a_new_folder_is_claimed_and_claimed_again(tmp_path):
    folder = tmp_path / "made" / "on the way"
    wanted = claim.claim_folder(folder, CONFIGURATION)
    assert wanted == {**CONFIGURATION, "lengths": [8, 6]}
    text = (folder / "configuration.json").read_text(encoding="utf-8")
    assert json.loads(text) == wanted and "süß" in text
    assert claim.claim_folder(str(folder), dict(reversed(CONFIGURATION.items()))) == wanted
    assert (folder / "configuration.json").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"model": {"emb_dim": 32, "norm": "rmsnorm"}},
            ["  model.emb_dim: folder has 16, this run has 32"],
        ),
        (
            {"stages": [{"name": "base", "rate": 0.1}, {"name": "corpus", "rate": 2e-3}]},
            ["  stages[1].rate: folder has 0.001, this run has 0.002"],
        ),
        (
            {"stages": [{"name": "base", "rate": 0.1}]},
            [
                "  stages[1].name: folder has 'corpus', this run has 'nothing'",
                "  stages[1].rate: folder has 0.001, this run has 'nothing'",
            ],
        ),
        ({"lengths": [6, 8]}, ["  lengths: folder has [8, 6], this run has [6, 8]"]),
        ({"bos_id": 0}, ["  bos_id: folder has None, this run has 0"]),
        ({"seed": None}, ["  seed: folder has 'nothing', this run has None"]),
        (
            {"free": {"a": 1}},
            [
                "  free: folder has {}, this run has 'nothing'",
                "  free.a: folder has 'nothing', this run has 1",
            ],
        ),
    ],
)
@pytest.mark.parametrize("check", [claim.claim_folder, claim.check_folder])
def test_another_configuration_is_refused_with_every_difference(check, changes, lines, tmp_path):
    claim.claim_folder(tmp_path, CONFIGURATION)
    with pytest.raises(claim.ConfigurationMismatchError) as caught:
        check(tmp_path, changed(**changes))
    first, *differences, remedy = str(caught.value).splitlines()
    assert repr(str(tmp_path)) in first and "belongs to another configuration" in first
    assert differences == lines
    assert "choose another output folder" in remedy
    claim.claim_folder(tmp_path, CONFIGURATION)


def test_many_differences_are_counted(tmp_path):
    claim.claim_folder(tmp_path, {f"key{index:02d}": 0 for index in range(20)})
    with pytest.raises(claim.ConfigurationMismatchError, match=r"key11.*\n  \.\.\. and 8 more\n"):
        claim.claim_folder(tmp_path, {f"key{index:02d}": 1 for index in range(20)})


def test_a_check_writes_nothing(tmp_path):
    claim.check_folder(tmp_path / "new", CONFIGURATION)
    assert list(tmp_path.iterdir()) == []
    claim.claim_folder(tmp_path, CONFIGURATION)
    claim.check_folder(tmp_path, CONFIGURATION)


def test_a_claim_that_was_cut_off_is_written_anew(tmp_path):
    (tmp_path / "configuration.json").write_text('{"model": {"emb_')
    claim.claim_folder(tmp_path, CONFIGURATION)
    claim.claim_folder(tmp_path, CONFIGURATION)
    with pytest.raises(claim.ConfigurationMismatchError):
        claim.claim_folder(tmp_path, changed(bos_id=0))


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "/proc/no/such/place"):
        with pytest.raises(PermissionError, match=r"cannot write into the output folder") as caught:
            claim.claim_folder(folder, CONFIGURATION)
        assert repr(str(folder)) in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


def test_whether_a_folder_can_be_made_is_checked_and_nothing_is_made(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for fine in (tmp_path, tmp_path / "a" / "b", "gs://bucket/a"):
        claim.check_can_be_made(fine, "folder")
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(
        PermissionError, match=r"into the folder .*/file/a.* since .*/file' is a file"
    ):
        claim.check_can_be_made(file / "a", "folder")
    with pytest.raises(ValueError, match="folder is empty text"):
        claim.check_can_be_made("", "folder")


@pytest.mark.parametrize("place", ["_announced", "_check_rivals", "check_folder"])
def test_of_runs_that_claim_a_folder_at_once_one_gets_it_at_most(place, tmp_path, monkeypatch):
    """A second run does all of its claiming at one place or another of the first one's."""
    outcomes, original = [], getattr(claim, place)

    def claimed(configuration):
        try:
            claim.claim_folder(tmp_path, configuration)
        except claim.ConfigurationMismatchError:
            return None
        return configuration["bos_id"]

    def interrupted(*arguments):
        if not outcomes:
            outcomes.append("starts")
            outcomes.append(claimed(changed(bos_id=2)))
        return original(*arguments)

    monkeypatch.setattr(claim, place, interrupted)
    outcomes.append(claimed(changed(bos_id=1)))
    winners = [outcome for outcome in outcomes[1:] if outcome is not None]
    assert winners == [2 if place == "_announced" else 1]
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"configuration.json", "configuration.json.complete"}
    assert json.loads((tmp_path / "configuration.json").read_text())["bos_id"] == winners[0]


def test_what_a_killed_claim_left_is_named(tmp_path):
    (tmp_path / "claim-0123-4567").write_text("")
    with pytest.raises(claim.ConfigurationMismatchError, match=r"delete '.*claim-0123-4567'"):
        claim.claim_folder(tmp_path, CONFIGURATION)
    (tmp_path / "claim-0123-4567").unlink()
    claim.claim_folder(tmp_path, CONFIGURATION)


@pytest.mark.parametrize("place", ["_check_rivals", "_remove_announcements"])
def test_what_a_killed_claim_left_is_removed_by_the_next_of_its_configuration(
    place, tmp_path, monkeypatch
):
    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(claim, place, killed)
        patch.setattr(type(epath.Path(tmp_path)), "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            claim.claim_folder(tmp_path, CONFIGURATION)
    assert len(list(tmp_path.glob("claim-*"))) == 1
    claim.claim_folder(tmp_path, CONFIGURATION)
    assert not list(tmp_path.glob("claim-*"))
