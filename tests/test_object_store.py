"""Checkpoints, records, ledger and shards on an object store, as they will run on gs://.

Each test runs its code in a process of its own, for which gs:// leads to the fake store, and then
looks into the store itself.
"""

import json
import textwrap

from teacherlm_jax.data import records
from tests.object_store import FakeObjectStore, run_on_object_store
from tests.teacher import test_shards


def _run(store, code, **kwargs):
    finished = run_on_object_store(store, ["-c", textwrap.dedent(code)], **kwargs)
    assert store.unknown == []
    return finished.stdout


def test_the_fake_refuses_and_records_what_object_stores_cannot_do(object_store):
    object_store.put("a.txt", b"one\n")
    out = _run(
        object_store,
        """
        from etils import epath

        path = epath.Path("gs://bucket/a.txt")
        for action in (path.rename, path.replace):
            try:
                action("gs://bucket/b.txt")
            except Exception as error:
                print("failed")
        # gcsfs has no append; it silently writes over the object.
        with path.open("ab") as stream:
            stream.write(b"two\\n")
        """,
    )
    assert out.split() == ["failed", "failed"]
    for operation in ("moveTo", "rewriteTo"):
        assert any(f"/o/a.txt/{operation}/" in path for _, path in object_store.refused)
    assert object_store.names() == ["a.txt"]
    assert object_store.read("a.txt") == b"two\n"
    assert object_store.overwritten == ["gs://bucket/a.txt"]


def test_epath_reads_writes_lists_and_deletes(object_store):
    for index in range(1203):  # More than a page of a listing.
        object_store.put(f"many/{index:04d}/x", b"")
    out = _run(
        object_store,
        """
        from etils import epath

        folder = epath.Path("gs://bucket/folder")
        folder.mkdir(parents=True, exist_ok=True)
        assert not (folder / "a b%.txt").exists()
        (folder / "a b%.txt").write_text("süß\\n")
        assert (folder / "a b%.txt").read_text() == "süß\\n"
        (folder / "empty").write_bytes(b"")
        assert (folder / "empty").exists() and (folder / "empty").read_bytes() == b""
        large = bytes(range(256)) * 50_000  # 12.8 MB: uploaded in pieces.
        (folder / "large").write_bytes(large)
        assert (folder / "large").read_bytes() == large
        assert (folder / "large").stat().length == len(large)
        print(*sorted(path.name for path in folder.iterdir()), sep="|")
        (folder / "empty").unlink()
        (folder / "empty").unlink(missing_ok=True)
        try:
            (folder / "empty").read_bytes()
        except FileNotFoundError:
            print("gone")
        print(len(list(epath.Path("gs://bucket/many").iterdir())))
        """,
    )
    assert out.splitlines() == ["a b%.txt|empty|large", "gone", "1203"]
    assert [name for name in object_store.names() if name.startswith("folder")] == [
        "folder/a b%.txt",
        "folder/large",
    ]
    assert len(object_store.read("folder/large")) == 12_800_000
    assert object_store.refused == []
    assert object_store.overwritten == []


_CHECKPOINTS = """
    from teacherlm_jax.partitioning import hosts

    hosts.initialize_from_environment()

    import jax, jax.numpy as jnp, numpy as np, orbax.checkpoint as ocp
    from jax.sharding import NamedSharding, PartitionSpec

    def manager(is_async):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2, enable_async_checkpointing=is_async
        )
        return ocp.CheckpointManager(f"gs://bucket/ckpt-{is_async}", options=options)

    def state(step, shape):
        mesh = jax.make_mesh(
            shape, ("data", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2
        )
        weights = np.arange(64, dtype=np.float32).reshape(8, 8) * step

        def shard(values, *axes):
            sharding = NamedSharding(mesh, PartitionSpec(*axes))
            return jax.make_array_from_callback(values.shape, sharding, lambda i: values[i])

        return {"w": shard(weights, "data", "tensor"), "step": shard(np.array(step))}
"""


def test_two_hosts_save_and_one_restores_at_once_and_in_the_background(object_store):
    save = """
    for is_async in (False, True):
        with manager(is_async) as checkpoints:
            for step in range(1, 5):
                checkpoints.save(step, args=ocp.args.StandardSave(state(step, (2, 2))))
            checkpoints.wait_until_finished()
            assert checkpoints.all_steps() == [3, 4], checkpoints.all_steps()
    """
    code = textwrap.dedent(_CHECKPOINTS + save)
    launcher = ["launch/local_launch.py", "--devices_per_process=2", "--", "python", "-c"]
    run_on_object_store(object_store, [*launcher, code])
    assert {name.split("/")[0] for name in object_store.names()} == {"ckpt-False", "ckpt-True"}
    assert {name.split("/")[1] for name in object_store.names()} == {"3", "4"}
    # A checkpoint counts from its commit file on: as if killed before the second one's end.
    del object_store.buckets["bucket"]["ckpt-True/4/commit_success.txt"]
    restore = """
    for is_async in (False, True):
        with manager(is_async) as checkpoints:
            step = checkpoints.latest_step()
            wanted = state(0, (2, 1))
            restored = checkpoints.restore(step, args=ocp.args.StandardRestore(wanted))
            assert restored["w"].sharding == wanted["w"].sharding
            np.testing.assert_array_equal(restored["w"], state(step, (2, 1))["w"])
            assert restored["step"] == step
            print(step)
    """
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    assert _run(object_store, _CHECKPOINTS + restore, env=devices).split() == ["4", "3"]
    assert object_store.refused == []


def test_ledger_and_records_keep_their_promises(object_store):
    out = _run(
        object_store,
        """
        from etils import epath
        from teacherlm_jax.data import ledger, records

        row = records.TeacherDataRecord.create("is ü a letter?", ["yes", "no"], "A")
        path = epath.Path("gs://bucket/run/rows.jsonl")
        assert not ledger.is_complete(path)
        ledger.write_whole(path, records.encode_jsonl([row]))
        ledger.write_whole(path, records.encode_jsonl([row]))
        assert ledger.is_complete(path)
        for place in (path, "gs://bucket/run", "gs://bucket/run/r*.jsonl"):
            assert list(records.read_jsonl(place)) == [row]
        assert ledger.list_complete("gs://bucket/run") == [path]
        try:
            ledger.write_whole(path, b"other")
        except ledger.AlreadyWrittenError:
            print("once")

        torn = epath.Path("gs://bucket/run/torn.jsonl")
        torn.write_bytes(b"{")
        assert not ledger.is_complete(torn)
        ledger.write_whole(torn, b"whole")
        torn.write_bytes(b"whale")
        try:
            ledger.read_whole(torn)
        except ledger.TornFileError as error:
            print(error)
        ledger.remove(torn)
        """,
    )
    assert out.startswith("once\n'gs://bucket/run/torn.jsonl' is torn or was changed")
    assert object_store.names() == ["run/rows.jsonl", "run/rows.jsonl.complete"]
    # The file is written once, then its marker.
    content, marker = (object_store.buckets["bucket"][name] for name in object_store.names())
    assert content.generation + 1 == marker.generation
    assert json.loads(marker.content)["size"] == len(content.content)
    assert set(object_store.overwritten) == {"gs://bucket/run/torn.jsonl"}
    assert object_store.refused == []


_HOST = """
    import sys
    from tests.teacher import test_shards

    for host, limit in zip(sys.argv[1::2], sys.argv[2::2]):
        folder = test_shards._open("gs://bucket/out")
        for shard in [s for s in folder.pending() if s % 2 == int(host)][: int(limit)]:
            test_shards._annotate(folder, shard)
            print(shard)
        if not folder.pending():
            folder.finish()
"""


def test_annotation_goes_on_where_hosts_left_it_and_ends_as_on_a_local_disk(
    object_store: FakeObjectStore, tmp_path
):
    outputs = [
        run_on_object_store(object_store, ["-c", textwrap.dedent(_HOST), *arguments]).stdout
        for arguments in (("0", "1"), ("1", "9", "0", "9"))
    ]
    assert outputs == ["0\n", "1\n2\n"]
    local = test_shards._open(tmp_path)
    for shard in local.pending():
        test_shards._annotate(local, shard)
    local.finish()
    names = [f"out/{path.name}" for path in sorted(tmp_path.iterdir())]
    assert object_store.names() == names
    for path in tmp_path.iterdir():
        assert object_store.read(f"out/{path.name}") == path.read_bytes()
    assert len(list(records.read_jsonl(tmp_path))) == 9
    assert object_store.refused == []
    assert object_store.overwritten == []
    assert object_store.unknown == []


def test_annotations_are_imported_and_teacherdata_is_read_there(object_store):
    out = _run(
        object_store,
        """
        import io, json

        import pyarrow
        import pyarrow.parquet
        from etils import epath

        from teacherlm_jax.data import annotations_import
        from teacherlm_jax.data.record_source import TeacherDataSource

        question = {"choices": ["x", "y"], "answer": "A", "fundamentals": "f"}
        rows = [
            {**question, "question": str(number), "annotator": name}
            for number in range(3)
            for name in ("ann", "bob")
        ]
        lines = "".join(json.dumps(row) + "\\n" for row in rows)
        epath.Path("gs://bucket/in/a.jsonl").write_text(lines)
        for _ in range(2):  # The second import finds everything there.
            made = annotations_import.import_annotations(
                ["gs://bucket/in/*.jsonl"],
                "gs://bucket/data/train",
                annotations_import.ImportSettings(),
            )
        print(made["records"], made["alternatives"])
        content = io.BytesIO()
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist([{**question, "question": "held out?"}]), content
        )
        epath.Path("gs://bucket/data/validation.parquet").write_bytes(content.getvalue())
        source = TeacherDataSource("gs://bucket/data")
        for split in ("train", "validation"):
            print(*(record.question for record in source.records(split)))
        """,
    )
    assert out.splitlines() == ["3 3", "0 1 2", "held out?"]
    assert object_store.refused == []
