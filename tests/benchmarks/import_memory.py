r"""What an import holds in memory, against what it promises; and how fast it is.

    python -m tests.benchmarks.import_memory --family=bloom --dtype=bfloat16

makes a checkpoint of about 2 GB of made-up numbers, and in a process of its own for each imports
it onto 8 devices, restores it onto other meshes, exports it, and has transformers load it. The
exit status is 1 where an import grew by more than the host's share, twice the largest tensor and
the save buffer, or where a restore is not what was saved.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.benchmarks import made_up

_SAMPLE_SECONDS = 0.005
_MEGABYTE = 1e6
MESHES = {"fsdp=8": 8, "fsdp=4,tensor=2": 8, "data=1": 1}


def _status() -> dict[str, int]:
    """Bytes by field of this process' status."""
    found = {}
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith("kB"):
            found[name] = int(value.split()[0]) * 1024
    return found


class Sampler:
    """Watches this process' resident memory; the start is the last look before the first read."""

    def __init__(self, has_begun: Callable[[], bool]) -> None:
        self.phase = "load"
        self.start = _status()
        self.peaks: dict[str, dict[str, int]] = {}
        self._has_begun = has_begun
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Takes a sample."""
        phase, found = self.phase, _status()
        if not self._has_begun():
            self.start = found
            return
        peaks = self.peaks.setdefault(phase, {"VmRSS": 0, "RssAnon": 0})
        for name in peaks:
            peaks[name] = max(peaks[name], found[name])

    def growth(self, phase: str, field: str = "VmRSS") -> int:
        """Bytes at the peak of a phase beyond the start."""
        return self.peaks.get(phase, self.start)[field] - self.start[field]

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self.look()


@dataclasses.dataclass
class _Clock:
    """Seconds since it was made, and of parts."""

    began: float = dataclasses.field(default_factory=time.monotonic)

    def lap(self) -> float:
        now = time.monotonic()
        self.began, seconds = now, now - self.began
        return seconds


# What runs in processes of their own: each returns what it measured.


def _mesh_config(text: str) -> Any:
    from teacherlm_jax.partitioning.mesh import MeshConfig

    sizes = {axis: int(size) for axis, _, size in (part.partition("=") for part in text.split(","))}
    return MeshConfig(**{"data": 1, **sizes})


def _import(source: str, target: str, mesh: str, scan_layers: bool = True) -> dict[str, Any]:
    import jax

    from teacherlm_jax.checkpoints import fingerprint, params_only
    from teacherlm_jax.weights import catalogue, directory, importing, tensors

    jax.devices()
    files = directory.open_directory(source)
    catalogue.read_config(files.path)
    found: dict[str, Any] = {"largest": max(tensor.nbytes for tensor in files.values())}
    save, checksum = params_only.save, fingerprint.fingerprint

    with Sampler(lambda: tensors.bytes_read.total > 0) as sampler:
        clock = _Clock()

        def saving(directory: Any, params: Any, metadata: Any) -> None:
            found["load_seconds"] = clock.lap()
            arrays = jax.tree.leaves(params)
            found["share"] = sum(s.data.nbytes for a in arrays for s in a.addressable_shards)
            sampler.look()
            sampler.phase = "save"
            save(directory, params, metadata)

        def summing(tree: Any) -> Any:
            began = time.monotonic()
            sampler.phase = "fingerprint"
            try:
                return checksum(tree)
            finally:
                sampler.phase = "save"
                found["fingerprint_seconds"] = time.monotonic() - began

        params_only.save = saving
        params_only.fingerprint = summing
        made = importing.import_model(source, target, _mesh_config(mesh), scan_layers=scan_layers)
        found["save_seconds"] = clock.lap()
    return {
        **found,
        "file_bytes": made.file_bytes,
        "buffer": made.save_buffer_bytes,
        "read": tensors.bytes_read.total,
        "load": sampler.growth("load"),
        "fingerprint": sampler.growth("fingerprint"),
        "save": sampler.growth("save"),
        "high": _status()["VmHWM"] - sampler.start["VmRSS"],
    }


def _restore(target: str, mesh: str) -> dict[str, Any]:
    import jax

    from teacherlm_jax.checkpoints import fingerprint, manager, restore
    from teacherlm_jax.models.config import from_dict
    from teacherlm_jax.partitioning.mesh import make_mesh

    jax.devices()
    checkpoints, step = manager.latest(f"{target}/checkpoints")
    with checkpoints:
        saved = checkpoints.metadata(step)
    with Sampler(lambda: True) as sampler:
        clock = _Clock()
        on = make_mesh(_mesh_config(mesh))
        loaded = restore.load_as_saved(checkpoints.directory, from_dict(saved["model"]), on)
        jax.block_until_ready(loaded.params)
        seconds = clock.lap()
    prints = fingerprint.fingerprint(loaded.params)
    equal = prints == saved[manager.FINGERPRINTS][manager.PARAMS]
    return {"growth": sampler.growth("load"), "seconds": seconds, "equal": equal}


def _export(target: str, exported: str) -> dict[str, Any]:
    import jax

    from teacherlm_jax.partitioning.mesh import make_mesh
    from teacherlm_jax.weights import exporting

    jax.devices()
    with Sampler(lambda: True) as sampler:
        clock = _Clock()
        settings = exporting.ExportSettings(source=target, target=exported, shard_bytes=10**9)
        exporting.export_model(settings, make_mesh(_mesh_config("fsdp=8")))
        return {"growth": sampler.growth("load"), "seconds": clock.lap()}


def _transformers(source: str, dtype: str) -> dict[str, Any]:
    import torch
    import transformers

    kind = getattr(torch, dtype)
    with Sampler(lambda: True) as sampler:
        clock = _Clock()
        model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=kind)
        for parameter in model.parameters():
            parameter.view(-1).view(torch.uint8).max()  # What is mapped is read at last.
        return {
            "growth": sampler.growth("load"),
            "anonymous": sampler.growth("load", "RssAnon"),
            "seconds": clock.lap(),
        }


_CHILDREN = {
    "import": _import,
    "restore": _restore,
    "export": _export,
    "transformers": _transformers,
}


def run_child(name: str, *arguments: Any, devices: int = 8) -> dict[str, Any]:
    """Runs one of the above in a new process."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    content = json.dumps([name, *arguments])
    command = [sys.executable, "-m", "tests.benchmarks.import_memory", f"--child={content}"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# The table


def _mb(size: float) -> str:
    return f"{size / _MEGABYTE:8,.0f} MB"


def _line(name: str, value: str, remark: str = "") -> None:
    print(f"  {name:34}{value:>12}  {remark}".rstrip(), flush=True)


def show_import(found: dict[str, Any], name: str) -> bool:
    """Prints an import's figures; returns whether it kept its promise."""
    allowed = found["share"] + 2 * found["largest"] + found["buffer"]
    grown = max(found[phase] for phase in ("load", "fingerprint", "save", "high"))
    size = found["file_bytes"]
    print(f"\n{name}")
    _line("file bytes", _mb(size), f"read: {_mb(found['read']).strip()}")
    _line("host's share", _mb(found["share"]))
    _line("largest tensor", _mb(found["largest"]))
    _line("save buffer", _mb(found["buffer"]))
    _line("allowed growth", _mb(allowed))
    for phase in ("load", "fingerprint", "save"):
        beyond = found[phase] - found["share"]
        _line(f"growth: {phase}", _mb(found[phase]), f"{beyond / 1e6:+,.0f} MB beyond the share")
    _line(
        "growth: high-water mark", _mb(found["high"]), f"{grown / allowed:.0%} of what is allowed"
    )
    load, save = found["load_seconds"], found["save_seconds"]
    _line("load", f"{load:8.1f} s", f"{size / load / 1e6:,.0f} MB/s")
    remark = (
        f"{size / save / 1e6:,.0f} MB/s, of it fingerprints {found['fingerprint_seconds']:.1f} s"
    )
    _line("save", f"{save:8.1f} s", remark)
    return grown <= allowed


@contextlib.contextmanager
def _folder(given: str | None) -> Iterator[pathlib.Path]:
    if given is not None:
        yield pathlib.Path(given)
        return
    with tempfile.TemporaryDirectory() as made:
        yield pathlib.Path(made)


def measure(flags: argparse.Namespace, folder: pathlib.Path) -> bool:
    """Runs all of it; returns whether every promise was kept."""
    source, target = folder / "source", folder / "target"
    if not source.exists():
        made_up.write(source, made_up.config_of(flags.family, flags.dtype, flags.gigabytes))
    kept = True
    for mesh in flags.meshes:
        devices = MESHES.get(mesh, 8)
        subprocess.run(["rm", "-rf", str(target)], check=True)
        arguments = (str(source), str(target), mesh, not flags.no_scan_layers)
        found = run_child("import", *arguments, devices=devices)
        name = f"import: {flags.family}, {flags.dtype}, {mesh} ({devices} devices)"
        kept &= show_import(found, name)
    print("\nafterwards")
    for mesh, devices in MESHES.items():
        back = run_child("restore", str(target), mesh, devices=devices)
        remark = f"{back['seconds']:.1f} s, fingerprints equal: {back['equal']}"
        _line(f"restore onto {mesh}", _mb(back["growth"]), remark)
        kept &= back["equal"]
    out = run_child("export", str(target), str(folder / "exported"))
    _line("export", _mb(out["growth"]), f"{out['seconds']:.1f} s")
    subprocess.run(["rm", "-rf", str(folder / "exported")], check=True)
    if not flags.no_transformers:
        theirs = run_child("transformers", str(source), flags.dtype)
        remark = f"{theirs['seconds']:.1f} s; without mapped files {_mb(theirs['anonymous'])}"
        _line("transformers' from_pretrained", _mb(theirs["growth"]), remark)
        grown = max(found["load"], found["fingerprint"], found["save"])
        seconds = found["load_seconds"]
        _line("ours / theirs, memory", f"{grown / theirs['growth']:8.2f}")
        _line("ours / theirs, seconds to load", f"{seconds / theirs['seconds']:8.2f}")
    return kept


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=("bloom", "llama"), default="bloom")
    parser.add_argument("--dtype", choices=tuple(made_up.DTYPES), default="bfloat16")
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--meshes", nargs="+", default=["data=1", "fsdp=4,tensor=2", "fsdp=8"])
    parser.add_argument("--no_scan_layers", action="store_true")
    parser.add_argument("--no_transformers", action="store_true")
    parser.add_argument("--folder", help="where to work; kept (default: a temporary one)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.child:
        name, *arguments = json.loads(flags.child)
        print(json.dumps(_CHILDREN[name](*arguments)))
        return 0
    with _folder(flags.folder) as folder:
        kept = measure(flags, folder)
    print("\nwithin what is allowed" if kept else "\nNOT within what is allowed")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
