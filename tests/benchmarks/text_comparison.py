"""Speed and memory of decontamination and de-duplication, on made-up texts.

    python -m tests.benchmarks.text_comparison [--questions 100000] [--rows 100000]

Words are drawn as in natural text (Zipf's law). One question in a thousand is put into a row; one
row in five is the row before it with a word more.
"""

import argparse
import pathlib
import resource
import time
from collections.abc import Iterator

import numpy as np

from teacherlm_jax.data.decontamination import Findings, search
from teacherlm_jax.data.deduplication import Deduplication
from teacherlm_jax.data.question_index import EvaluationQuestion, MatchRule, QuestionIndex
from teacherlm_jax.data.text_rows import TextRow

VOCABULARY = 50_000


def texts(count: int, seed: int) -> Iterator[str]:
    """Texts of 6 to 150 words, 60 on average."""
    draws = np.random.RandomState(seed)
    names = np.array([f"w{number:x}" for number in draws.permutation(VOCABULARY)])
    for _ in range(count):
        length = int(np.clip(draws.lognormal(4.0, 0.6), 6, 150))
        yield " ".join(names[draws.zipf(1.2, length) % VOCABULARY])


def questions(count: int) -> Iterator[EvaluationQuestion]:
    """Questions of a hundred tasks."""
    for number, text in enumerate(texts(count, seed=0)):
        yield EvaluationQuestion(f"task{number % 100}", "test", str(number), {"question": text})


def rows(count: int, leaks: list[str]) -> list[TextRow]:
    """Rows of training data, some with leaks and some nearly the same."""
    made: list[TextRow] = []
    for number, text in enumerate(texts(count, seed=1)):
        if number % 5 == 4:
            text = made[-1].texts["text"] + " again"
        elif leaks and number % 3 == 0:
            text = f"{text} {leaks.pop()}"
        made.append(TextRow("made up", str(number), f"made up:{number}", {"text": text}, {}))
    return made


def megabytes() -> float:
    """Memory that this process holds now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=100_000)
    flags = parser.parse_args()
    asked = list(questions(flags.questions))
    leaked = [question.parts["question"] for question in asked[::1000]]
    data = rows(flags.rows, list(leaked))
    size = sum(len(row.texts["text"]) for row in data) / 1e6
    print(f"{len(asked):,} questions; {len(data):,} rows, {size:.0f} MB; {megabytes():.0f} MB")

    start = time.perf_counter()
    index = QuestionIndex(asked, MatchRule())
    spent = time.perf_counter() - start
    print(f"index: {spent:.1f} s, {index.runs:,} runs; {megabytes():.0f} MB")
    start = time.perf_counter()
    findings = Findings(index)
    for row in search(data, index):
        findings.add(row)
    spent = time.perf_counter() - start
    print(
        f"search: {len(findings.matches_of)} of {len(leaked)} leaks;"
        f" {len(data) / spent:,.0f} rows/s, {size / spent:.0f} MB/s; {megabytes():.0f} MB"
    )

    del asked, index, findings, row
    print(f"without the index: {megabytes():.0f} MB")
    start = time.perf_counter()
    seen = Deduplication()
    seen.add(data)
    sketched = time.perf_counter() - start
    print(f"sketches: {len(data) / sketched:,.0f} rows/s; {megabytes():.0f} MB")
    start = time.perf_counter()
    found = seen.find()
    spent = time.perf_counter() - start
    print(
        f"de-duplication: {len(found):,} of {len(data) // 5:,} copies;"
        f" {len(data) / spent:,.0f} rows/s;"
        f" {megabytes():.0f} MB"
    )


if __name__ == "__main__":
    main()
