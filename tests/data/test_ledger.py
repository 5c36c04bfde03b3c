"""The write-once store: a file counts when it was written to its end, and never before."""

import json
import signal
import subprocess
import sys
import textwrap

import pytest
from etils import epath

from teacherlm_jax.data import ledger


def test_what_was_written_is_complete_and_is_read_back(tmp_path):
    path = tmp_path / "made" / "on the way" / "stage.json"
    assert not ledger.is_complete(path)
    assert ledger.write_whole(path, "süß\n") == epath.Path(path)
    assert ledger.is_complete(path)
    assert ledger.read_whole(str(path)) == "süß\n".encode()
    assert ledger.read_text(path) == "süß\n"
    marker = json.loads((tmp_path / "made" / "on the way" / "stage.json.complete").read_text())
    assert marker["size"] == 6
    assert len(marker["sha256"]) == 64


def test_a_full_disk_is_told_with_the_folder_and_what_to_do(tmp_path):
    ledger.write_whole(tmp_path / "before", b"kept")
    (tmp_path / "rows.jsonl").symlink_to("/dev/full")
    message = rf"no space is left in '{tmp_path}' for 'rows\.jsonl', 9 bytes .*free some"
    with pytest.raises(ledger.NoSpaceError, match=message):
        ledger.write_whole(tmp_path / "rows.jsonl", b"too large")
    assert [path.name for path in ledger.list_complete(tmp_path)] == ["before"]


def test_empty_files_can_be_complete(tmp_path):
    ledger.write_whole(tmp_path / "empty", b"")
    assert ledger.read_whole(tmp_path / "empty") == b""


def test_a_complete_file_is_written_once(tmp_path):
    path = tmp_path / "a"
    ledger.write_whole(path, b"one")
    ledger.write_whole(path, b"one")
    with pytest.raises(ledger.AlreadyWrittenError, match=r"a' is complete and holds another"):
        ledger.write_whole(path, b"two")
    assert ledger.read_whole(path) == b"one"
    ledger.remove(path)
    assert list(tmp_path.iterdir()) == []
    ledger.remove(path)
    ledger.write_whole(path, b"two")
    assert ledger.read_whole(path) == b"two"


@pytest.mark.parametrize(
    "marker",
    [None, b"", b'{"size": 3, "sha', b"[]", b'{"size": 3}', b"\xff", b'{"size":2}', b"[" * 10**5],
    ids=range(8),
)
def test_a_file_without_a_sound_marker_does_not_count_and_is_written_over(tmp_path, marker):
    path = tmp_path / "a"
    path.write_bytes(b"tor")
    if marker is not None:
        (tmp_path / "a.complete").write_bytes(marker)
    assert not ledger.is_complete(path)
    assert ledger.list_complete(tmp_path) == []
    with pytest.raises(FileNotFoundError, match=r"a' was not written to its end"):
        ledger.read_whole(path)
    ledger.write_whole(path, b"torn no more")
    assert ledger.read_whole(path) == b"torn no more"


def test_a_file_that_is_shorter_than_its_marker_says_is_written_again(tmp_path):
    path = tmp_path / "a"
    ledger.write_whole(path, b"whole")
    path.write_bytes(b"who")
    assert not ledger.is_complete(path)
    with pytest.raises(ledger.TornFileError, match=r"a' is torn or was changed: it has 3 bytes"):
        ledger.read_whole(path)
    ledger.write_whole(path, b"other")
    assert ledger.read_whole(path) == b"other"


def test_a_file_of_the_right_size_and_another_content_is_found_on_reading(tmp_path):
    path = tmp_path / "a"
    ledger.write_whole(path, b"whole")
    path.write_bytes(b"whale")
    with pytest.raises(ledger.TornFileError, match=r"Delete it and 'a.complete'"):
        ledger.read_whole(path)
    path.unlink()
    with pytest.raises(ledger.TornFileError, match=r"it has 0 bytes"):
        ledger.read_whole(path)


def test_what_does_not_exist_is_said_not_to_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="none' does not exist"):
        ledger.read_whole(tmp_path / "none")
    assert ledger.list_complete(tmp_path / "none") == []


def test_listing_gives_complete_files_that_match_sorted(tmp_path):
    for name in ("b-1", "a-1", "a-0", "c"):
        ledger.write_whole(tmp_path / name, name)
    (tmp_path / "a-2").write_bytes(b"unfinished")
    ledger.write_whole(tmp_path / "a-3", "gone")
    (tmp_path / "a-3").unlink()
    assert [path.name for path in ledger.list_complete(tmp_path, "a-*")] == ["a-0", "a-1"]
    assert [path.name for path in ledger.list_complete(tmp_path)] == ["a-0", "a-1", "b-1", "c"]


def test_the_path_of_a_marker_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is the name of a marker"):
        ledger.write_whole(tmp_path / "a.complete", b"")


# Writes a file through the ledger, and kills its own process at the Nth of these moments: after the
# opening, after half the bytes, after all bytes, after the closing, and the same for the marker.
_KILLED_WRITER = """
    import os, signal, sys
    from etils import epath
    from teacherlm_jax.data import ledger

    path, moment = sys.argv[1], int(sys.argv[2])
    passed = 0

    def pass_moment():
        global passed
        if passed == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    class Stream:
        def __init__(self, stream):
            self.stream = stream
            pass_moment()

        def write(self, data):
            for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                self.stream.write(part)
                self.stream.flush()
                pass_moment()

        def flush(self):
            self.stream.flush()

        def fileno(self):
            return self.stream.fileno()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.stream.close()
            pass_moment()

    kind = type(epath.Path(path))
    real_open = kind.open
    kind.open = lambda self, mode="r", **kwargs: (
        Stream(real_open(self, mode, **kwargs)) if "w" in mode
        else real_open(self, mode, **kwargs)
    )
    ledger.write_whole(path, b"new content " * 1000)
"""
_MOMENTS = 8


@pytest.fixture(scope="module")
def killed_writes(tmp_path_factory):
    """Folders in which a writer was killed, by moment; in the second of a pair over an old file."""
    folders, writers = [], []
    for moment in range(_MOMENTS):
        for has_torn_file in (False, True):
            folder = tmp_path_factory.mktemp(f"moment{moment}")
            if has_torn_file:
                ledger.write_whole(folder / "a", b"old content " * 2000)
                (folder / "a").write_bytes(b"torn")
            command = [sys.executable, "-c", textwrap.dedent(_KILLED_WRITER)]
            writers.append(subprocess.Popen([*command, str(folder / "a"), str(moment)]))
            folders.append(folder)
    return folders, [writer.wait() for writer in writers]


@pytest.mark.parametrize("case", range(2 * _MOMENTS))
def test_a_writer_killed_at_any_moment_leaves_a_whole_file_or_none(killed_writes, case):
    folders, statuses = killed_writes
    path = folders[case] / "a"
    assert statuses[case] == -signal.SIGKILL
    # Complete from the moment when the last byte of the marker stands, and not before.
    is_complete = case // 2 >= _MOMENTS - 2
    assert ledger.is_complete(path) == is_complete
    assert [path.name for path in ledger.list_complete(folders[case])] == ["a"] * is_complete
    if not is_complete:
        with pytest.raises((FileNotFoundError, ledger.TornFileError), match="a' "):
            ledger.read_whole(path)
    ledger.write_whole(path, b"new content " * 1000)
    assert ledger.read_whole(path) == b"new content " * 1000
