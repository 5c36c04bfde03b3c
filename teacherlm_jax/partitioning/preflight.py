"""Checks that all hosts of a run are alike, before a collective hangs where they are not.

Hosts tell each other facts through the text store at process 0, which no device has a part in;
process 0 compares them, and every host gets the same answer.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import re
import socket
import time
from collections.abc import Mapping, Sequence

import jax
from etils import epath

import teacherlm_jax
from teacherlm_jax.partitioning import cluster, hosts
from teacherlm_jax.partitioning.roll_call import HostsError, name_hosts

CONFIGURATION = "configuration"

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "seqio", "libtpu")
_INSTALL = "install the same versions on all hosts"
_REMEDIES = {
    CONFIGURATION: "launch all hosts with the same gin files and flags",
    "command": "launch all hosts with the same command",
    "teacherlm_jax": "give all hosts the same checkout",
    "device kind": "start the run on devices of one kind",
    "local devices": "give every host as many devices as the others",
}
_SHOWN_LINES = 6
_rounds = itertools.count()  # A key of the store is set once; hosts call in the same order.


def check_hosts(command: str, configuration: str) -> None:
    """Checks that all hosts run the same command, configuration and software on the same devices.

    To be called on every host once `jax.distributed` is up, before any collective. Does nothing
    where there is one process.

    Args:
      command: the command's name.
      configuration: all that decides the run, as lines of text.

    Raises:
      HostsError: hosts differ, or one does not answer.
    """
    if cluster.joined() is None:
        return
    check({"command": command, CONFIGURATION: configuration, **software()})
    # Devices come second: to start them, all hosts must be of one mind.
    check(devices())
    # On CPUs the first collective fails where a host comes half a minute late to it, as it may
    # after reading data; later ones wait.
    hosts.wait_for_all("preflight")


def check(facts: Mapping[str, str], timeout_seconds: float = 60.0) -> None:
    """Checks that all hosts state the same facts; every host must call it, in the same order.

    Args:
      facts: what must be equal -> its value. Of values of several lines a digest and the lines that
        differ are shown.
      timeout_seconds: how long to wait for the facts of all.

    Raises:
      HostsError: hosts differ, or one does not answer; the same on every host.
    """
    run = cluster.joined()
    if run is None:
        return
    store, round_ = cluster.key_value_store(), f"teacherlm/preflight/{next(_rounds)}"
    mine = {"host": socket.gethostname(), "facts": dict(facts)}
    store.key_value_set(f"{round_}/facts/{run.process_id}", json.dumps(mine))
    if run.process_id == 0:
        problem = _collect(run.num_processes, f"{round_}/facts", timeout_seconds)
        store.key_value_set(f"{round_}/problem", json.dumps(problem))
    else:
        heard = _get(f"{round_}/problem", 2 * timeout_seconds)
        problem = f"host 0 did not answer within {2 * timeout_seconds:g} s; its own output says why"
        problem = problem if heard is None else json.loads(heard)
    if problem:
        raise HostsError(problem)


def software() -> dict[str, str]:
    """Versions of Python and of what computes, "absent" where one is not installed."""
    versions = {"python": platform.python_version()}
    versions["teacherlm_jax"] = f"{teacherlm_jax.__version__} (source {source_digest()})"
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    return versions


def source_digest() -> str:
    """Twelve digits that are the package's source: checkouts of one version may differ."""
    package = epath.Path(teacherlm_jax.__file__).parent
    folders = os.walk(package, followlinks=True)  # `tasks` may be a link.
    paths = [epath.Path(folder) / name for folder, _, names in folders for name in names]
    files = {str(path.relative_to(package)): path for path in paths if path.suffix == ".py"}
    contents = [f"{name} {_digest(files[name].read_text())}" for name in sorted(files)]
    return _digest("\n".join(contents))


def devices() -> dict[str, str]:
    """The host's devices: kinds, and how many."""
    found = jax.local_devices()
    kinds = sorted({device.device_kind for device in found})
    return {"device kind": ", ".join(kinds), "local devices": str(len(found))}


def differences(facts: Sequence[Mapping[str, str]], names: Mapping[int, str]) -> str:
    """What differs between hosts, where, and what to do; "" for nothing.

    Args:
      facts: of each host, by the id of its process.
      names: id of a process -> name of its host.
    """
    lines = []
    for fact in dict.fromkeys(fact for of_host in facts for fact in of_host):
        hosts: dict[str, list[int]] = {}
        for process_id, of_host in enumerate(facts):
            hosts.setdefault(of_host.get(fact, "absent"), []).append(process_id)
        if len(hosts) == 1:
            continue
        is_text = any("\n" in value for value in hosts) or fact == CONFIGURATION
        groups = sorted(hosts.items(), key=lambda group: (-len(group[1]), group[1]))
        said = "; ".join(
            f"{name_hosts(names, ids)} {'have' if len(ids) > 1 else 'has'}"
            f" {_digest(value) if is_text else value}"
            for value, ids in groups
        )
        what = f"{fact} digest" if is_text else fact
        lines.append(f"  {what}: {said}. Remedy: {_REMEDIES.get(fact, _INSTALL)}.")
        if is_text:
            lines += _different_lines(groups, names)
    return "\n".join(["the hosts of this run are not alike:", *lines]) if lines else ""


def _different_lines(
    groups: Sequence[tuple[str, Sequence[int]]], names: Mapping[int, str]
) -> list[str]:
    """The lines of each group's text that not all groups have."""
    # gin breaks long values: what is indented belongs to the line before.
    texts = [re.sub(r"[ \t]*\\?\n[ \t]+", " ", value).splitlines() for value, _ in groups]
    common = set(texts[0]).intersection(*texts[1:])
    shown = []
    for (_, ids), text in zip(groups, texts):
        own = [line for line in text if line and line[0] != "#" and line not in common]
        shown += [f"    {name_hosts(names, ids[:1])}: {line}" for line in own[:_SHOWN_LINES]]
        if len(own) > _SHOWN_LINES:
            more = len(own) - _SHOWN_LINES
            shown.append(f"    {name_hosts(names, ids[:1])}: and {more} more lines")
    return shown


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _collect(num_processes: int, folder: str, timeout_seconds: float) -> str:
    """Reads what all hosts said; returns what is wrong with it."""
    deadline = time.monotonic() + timeout_seconds
    facts, names, silent = [], {}, []
    for process_id in range(num_processes):
        text = _get(f"{folder}/{process_id}", max(deadline - time.monotonic(), 0.1))
        if text is None:
            silent.append(process_id)
            continue
        said = json.loads(text)
        names[process_id] = said["host"]
        facts.append(said["facts"])
    if silent:
        return (
            f"{name_hosts({}, silent)} said nothing of their software within {timeout_seconds:g} s;"
            f" {name_hosts(names, names.keys())} did. See what the silent ones print."
        )
    return differences(facts, names)


def _get(key: str, seconds: float) -> str | None:
    """What a host left in the store; None where it does not come in time."""
    try:
        text = cluster.key_value_store().blocking_key_value_get(key, int(seconds * 1000))
    except jax.errors.JaxRuntimeError as error:
        if "DEADLINE_EXCEEDED" not in str(error):
            raise
        return None
    return str(text)
