"""Rows a second of TeacherData: from a file to rows, to records, and to text examples.

    python -m tests.benchmarks.teacherdata_rows

Memory is that of the whole process, TensorFlow's libraries included.
"""

import argparse
import pathlib
import resource
import tempfile
import time
from collections.abc import Iterable

from teacherlm_jax.data import records
from teacherlm_jax.data.record_source import TeacherDataSource
from teacherlm_jax.tasks.teacherdata.examples import Rendering

EXPLANATIONS = ("fundamentals", "chain_of_thought", "common_mistakes")


def write(path: pathlib.Path, count: int) -> None:
    """Writes so many records of about 2 KB."""
    texts = dict.fromkeys(EXPLANATIONS, "a word or two, " * 40)
    with path.open("wb") as stream:
        for index in range(count):
            record = records.TeacherDataRecord.create(
                f"number {index}? {'word ' * 20}", ["yes", "no"], "A", **texts
            )
            stream.write(records.encode_jsonl([record]))


def measure(name: str, blocks: Iterable[int]) -> None:
    """Prints how fast rows come."""
    start = time.perf_counter()
    count = sum(blocks)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name:14} {count:9,} in {seconds:6.2f} s  {count / seconds:9,.0f}/s  {memory:.2f} GiB")


def main() -> None:
    """Writes records into a temporary folder, and reads them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "train.jsonl"
        write(path, count)
        print(f"{path.stat().st_size / count / 1e3:.1f} KB a record")
        source = TeacherDataSource(str(path))
        measure("rows", (1 for _ in source.rows("train")))
        measure("records", (1 for _ in source.records("train")))
        examples = Rendering("benchmark", "five_fields")(source.get_dataset("train"))
        batches = examples.batch(2048).as_numpy_iterator()
        measure("text examples", (len(batch["id"]) for batch in batches))


if __name__ == "__main__":
    main()
