"""Metric rows to TensorBoard and to the log, through clu.

clu writes no JSON lines, and what it writes it appends: `metrics.jsonl` stays with the stage, which
rewrites it whole.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath

_LONGEST_WAIT_SECONDS = 2.0


class MetricWriter:
    """Writes rows on the first host, and nothing on the others; use as a context manager.

    Event files are written in the background. On an object store, where nothing can be appended,
    they are written locally, and every `flush` stores what has come since as a file of its own.

    A storage that fails costs a warning and what TensorBoard would show, never the run. TensorFlow
    and clu are imported when a writer is made, not with this module.
    """

    def __init__(self, directory: epath.PathLike, first_step: int) -> None:
        """Begins a process' part of the run.

        TensorBoard drops what an earlier process wrote after `first_step`, since these steps are
        done again; what it wrote up to there stays. So `flush` before a checkpoint.

        Args:
          directory: TensorBoard shows it as one run.
          first_step: updates in the checkpoint from which training goes on; 0 without one.
        """
        self._is_first_host = jax.process_index() == 0
        self._event_files: _EventFiles | None = None
        if not self._is_first_host:
            return
        from clu.metric_writers import logging_writer

        self._log = logging_writer.LoggingWriter()
        self._folder = epath.Path(directory)
        try:
            self._event_files = _EventFiles(self._folder, first_step)
        except Exception as error:
            self._give_up(error)

    def write(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes a row.

        Args:
          step: updates done.
          scalars: name -> number. Slashes group names, as in "loss/TASK". A list (replicas) becomes
            NAME/replica_0, ...; None and the row's own "step" are left out. NaN is written.
        """
        if not self._is_first_host:
            return
        flat = dict(_flat(scalars))
        self._log.write_scalars(step, flat)
        self._try(lambda files: files.write(step, flat))

    def flush(self) -> None:
        """Returns when every row is stored."""
        self._try(lambda files: files.flush())

    def close(self) -> None:
        """Stores every row and ends."""
        self._try(lambda files: files.close())
        self._event_files = None

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _try(self, work: Any) -> None:
        if self._event_files is None:
            return
        try:
            work(self._event_files)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._event_files = None
        logging.warning(
            "TensorBoard's files in %s cannot be written (%s): training goes on without them, and "
            "metrics.jsonl has every row. Look at the storage's space and permissions.",
            self._folder,
            error.__cause__ or error,
        )


class _EventFiles:
    """Event files of one process in a folder, which may be on an object store."""

    def __init__(self, folder: epath.Path, first_step: int) -> None:
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if "://" in str(folder):
            self._temporary = tempfile.TemporaryDirectory()
        self._local = epath.Path(self._temporary.name) if self._temporary else folder
        self._writer: Any = None
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names, which begin with the second.
        seconds = [_second_of(path.name) for path in folder.glob("*tfevents*")]
        _wait_past(max(seconds, default=0))
        self._started_at = _write_start(str(self._local), first_step)
        self._publish()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        if self._writer is None:
            from clu.metric_writers import async_writer, summary_writer

            _wait_past(self._started_at)
            writer = summary_writer.SummaryWriter(str(self._local))
            self._writer = async_writer.AsyncWriter(writer)
        self._writer.write_scalars(step, scalars)

    def flush(self) -> None:
        if self._writer is None:
            return
        if self._temporary is None:
            self._writer.flush()
            return
        writer, self._writer = self._writer, None
        writer.close()
        self._publish()

    def close(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            self._publish()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _publish(self) -> None:
        if self._temporary is None:
            return
        for path in sorted(self._local.iterdir(), key=str):
            (self._folder / path.name).write_bytes(path.read_bytes())
            path.unlink()


def _flat(scalars: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in scalars.items():
        if name == "step" or value is None:
            continue
        array = np.asarray(value, np.float64)
        if array.ndim == 0:
            yield name, float(array)
        for replica, one in enumerate(array.ravel() if array.ndim else ()):
            yield f"{name}/replica_{replica}", float(one)


def _second_of(name: str) -> int:
    """The second in the name of an event file (events.out.tfevents.SECOND.HOST...); else 0."""
    parts = name.split(".")
    return int(parts[3]) if len(parts) > 3 and parts[3].isdigit() else 0


def _wait_past(second: int) -> None:
    """Returns in a later second than that one; not where clocks differ by more than a little."""
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    while int(time.time()) <= second and time.monotonic() < deadline:
        time.sleep(0.02)


def _write_start(folder: str, first_step: int) -> int:
    """Writes the event at which TensorBoard drops later steps of earlier files; returns its second.

    TensorBoard takes the first such event of a run for the run's beginning, so every process
    writes one. clu has no way to write it.
    """
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    now = time.time()
    # From this step on: that of the checkpoint was written by the process that made it.
    event = event_pb2.Event(wall_time=now, step=first_step + 1, session_log=start)
    writer = EventFileWriter(folder)
    writer.add_event(event)
    writer.close()
    return int(time.time())
