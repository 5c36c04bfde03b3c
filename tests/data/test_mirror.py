import hashlib
import json

import numpy as np
import pytest
from array_record.python import array_record_module

from teacherlm_jax.data import ledger, mirror
from teacherlm_jax.data.mirror import MirrorError

ROWS = [json.dumps({"n": n, "text": f"é\u2028{n}"}, ensure_ascii=False).encode() for n in range(20)]
SIZES = {"train": (8, 0, 7), "validation": (5,)}


@pytest.fixture(autouse=True)
def nothing_verified(monkeypatch):
    monkeypatch.setattr(mirror, "_verified", set())


@pytest.fixture(params=["jsonl", "array_record"])
def folder(request, tmp_path):
    """A mirror written by hand, as the documentation has it."""
    path, splits, rows = tmp_path / "tiny", {}, iter(ROWS)
    path.mkdir()
    for split, sizes in SIZES.items():
        shards = []
        for number, size in enumerate(sizes):
            file = path / f"{split}-{number:05d}.{request.param}"
            texts = [next(rows) for _ in range(size)]
            if request.param == "jsonl":
                file.write_bytes(b"".join(text + b"\n" for text in texts))
            else:
                writer = array_record_module.ArrayRecordWriter(str(file), "group_size:3")
                for text in texts:
                    writer.write(text)
                writer.close()
            data = file.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            shards.append({"file": file.name, "rows": size, "bytes": len(data), "sha256": digest})
        splits[split] = {"rows": sum(sizes), "shards": shards}
    manifest = {"version": 1, "format": request.param, "source": {}, "splits": splits}
    ledger.write_whole(path / "manifest.json", json.dumps(manifest))
    return path


def read(folder, spec, chosen=None):
    return list(mirror.read(folder).rows(spec, None if chosen is None else np.array(chosen)))


def test_rows_come_in_order_with_their_places_and_lines(folder):
    found = read(folder, "train")
    assert [(text, place) for text, place, _ in found] == list(zip(ROWS, range(15)))
    wheres = [where.rpartition("/")[2].replace("array_record", "jsonl") for *_, where in found]
    first = [f"train-00000.jsonl:{line}" for line in range(1, 9)]
    assert wheres == first + [f"train-00002.jsonl:{line}" for line in range(1, 8)]
    assert mirror.read(folder).counts == {"train": 15, "validation": 5}


@pytest.mark.parametrize(
    "spec",
    ["train[:-3]", "train[-9:]", "train[7:9]", "train[5:5]", "validation[1:]", "train[:40%]"],
)
def test_slices_and_parts_of_them_are_numpy_s(folder, spec):
    split, bounds = spec.rstrip("]").split("[")
    first, last = (int(bound) if bound else None for bound in bounds.replace("40%", "6").split(":"))
    whole = ROWS[:15] if split == "train" else ROWS[15:]
    expected = whole[first:last]
    assert [text for text, *_ in read(folder, spec)] == expected
    assert mirror.read(folder).count(spec) == len(expected)
    chosen = list(range(0, len(expected), 2))
    assert read(folder, spec, chosen) == [read(folder, spec)[place] for place in chosen]


def test_sums_and_chosen_rows_across_files(folder):
    spec = "validation[3:]+train[6:]"
    whole = [text for text, *_ in read(folder, spec)]
    assert whole == ROWS[18:] + ROWS[6:15]
    found = read(folder, spec, [0, 1, 3, 4, 10])
    assert [(text, place) for text, place, _ in found] == [
        (whole[place], place) for place in (0, 1, 3, 4, 10)
    ]
    assert read(folder, spec, []) == []


def test_only_the_files_that_are_needed_are_read(folder):
    for file in folder.glob("train-0000[01]*"):
        file.unlink()
    assert len(read(folder, "train[8:]")) == 7
    with pytest.raises(MirrorError, match=r"train-00000\.\w+ is not there, but its manifest"):
        read(folder, "train[7:]")


def test_a_changed_file_is_found_the_first_time_and_a_shorter_one_always(folder):
    (file,) = folder.glob("validation-*")
    data = file.read_bytes()
    file.write_bytes(data.replace(b"5", b"6", 1) if b"5" in data else data[:-1] + b"\0")
    with pytest.raises(MirrorError) as caught:
        read(folder, "validation")
    for part in (str(file), "damaged or changed", "SHA-256", "Fetch it again", "data mirror"):
        assert part in str(caught.value)
    file.write_bytes(data)
    assert len(read(folder, "validation")) == 5
    file.write_bytes(data[:-1])
    with pytest.raises(MirrorError, match="damaged or changed"):
        read(folder, "validation")


def test_other_splits_than_there_are(folder):
    with pytest.raises(MirrorError, match=r"no split 'test'; there are .*Make it anew"):
        read(folder, "test[:3]")


def test_what_is_no_finished_mirror(folder, tmp_path):
    assert mirror.read(tmp_path / "nowhere") is None
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    ledger.marker_path(path).unlink()
    with pytest.raises(MirrorError, match=r"is not finished: manifest\.json has no sound marker"):
        mirror.read(folder)
    for change, reason in (
        ({"version": 2}, "is of version 2"),
        ({"format": "csv"}, "format 'csv'; this program reads version 1 and jsonl or"),
        ({"splits": []}, "cannot be read"),
        ({"splits": {"train": {"shards": [{"file": "x"}]}}}, "cannot be read"),
    ):
        ledger.remove(path)
        ledger.write_whole(path, json.dumps(manifest | change))
        with pytest.raises(MirrorError, match=reason):
            mirror.read(folder)
    path.write_text("{}")
    with pytest.raises(MirrorError, match=r"cannot be read|is not finished"):
        mirror.read(folder)


def test_a_manifest_that_counts_wrong_is_refused(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["splits"]["validation"]["shards"][0]["rows"] = 6
    ledger.remove(path)
    ledger.write_whole(path, json.dumps(manifest))
    with pytest.raises(MirrorError, match="holds 5 rows, its manifest says 6"):
        read(folder, "validation")


@pytest.mark.parametrize(
    "change",
    [{"rows": "5"}, {"rows": -5}, {"bytes": None}, {"file": "../a"}, {"file": 3}, {"sha256": 3}],
)
def test_a_manifest_with_other_values_is_refused(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["splits"]["validation"]["shards"][0].update(change)
    ledger.remove(path)
    ledger.write_whole(path, json.dumps(manifest))
    with pytest.raises(MirrorError, match=rf"\(TypeError: {next(iter(change))} = "):
        mirror.read(folder)


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"[]"])
def test_a_manifest_that_is_none_is_refused(folder, content):
    ledger.remove(folder / "manifest.json")
    ledger.write_whole(folder / "manifest.json", content)
    with pytest.raises(MirrorError, match=r"the manifest .* cannot be read"):
        mirror.read(folder)


@pytest.mark.parametrize("name", ["../elsewhere", "a/../../b", "", "/etc", "a//b", "."])
def test_names_stay_in_the_folder_of_mirrors(name):
    with pytest.raises(MirrorError, match="cannot name a mirror"):
        mirror.folder_of(name)
