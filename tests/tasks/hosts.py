"""What hosts of a run, each with its part of a task as seqio gives it, have together."""

from collections.abc import Sequence

import seqio


def check_parts(name: str, counts: Sequence[int] = (2,)) -> list[bytes]:
    """The parts of so many hosts are all of "train", every example once; returns the ids of all."""
    task = seqio.TaskRegistry.get(name)

    def ids(index: int, hosts: int) -> list[bytes]:
        part = seqio.ShardInfo(index, hosts)
        dataset = task.get_dataset(None, "train", shuffle=False, shard_info=part)
        return [example["id"] for example in dataset.as_numpy_iterator()]

    whole = ids(0, 1)
    for hosts in counts:
        parts = [ids(index, hosts) for index in range(hosts)]
        found = [id_ for part in parts for id_ in part]
        assert sorted(found) == sorted(whole), f"{name}: {hosts} hosts"
    return whole
