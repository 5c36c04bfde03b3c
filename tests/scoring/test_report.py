"""The files of a report, read back as a reader's program would."""

from __future__ import annotations

import base64
import dataclasses
import json
import pathlib
import re

import pytest

from teacherlm_jax.data import ledger
from teacherlm_jax.scoring import report, results
from tests.object_store import FakeObjectStore, run_on_object_store
from tests.page import Page
from tests.scoring.receipt_example import GROUPS, example, mixed, receipt

SCRIPT = '</script></code><script>alert(1)</script>"><img src=x onerror=alert(2)>|*_`'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("report") / "made" / "by" / "it"
    found = results.summarize(example(), "sum", GROUPS)
    written = report.write(found, example(), path, "A title", {"bos_id": 1})
    assert str(written) == str(path / "report.html")
    return path


def test_files_are_whole_and_json_has_the_results(folder):
    names = {path.name for path in ledger.list_complete(folder)}
    assert names == {
        "accuracies.png",
        "letters.png",
        "reliability.png",
        "report.html",
        "report.md",
        "results.json",
    }
    told = json.loads((folder / "results.json").read_text())
    assert told["title"] == "A title"
    assert told["details"] == {"checkpoint_digest": "1234", "bos_id": 1}
    found = results.summarize(example(), "sum", GROUPS).as_json()
    assert {key: told[key] for key in found} == found


def test_page_stands_alone_and_holds_the_charts_and_figures(folder):
    page = Page((folder / "report.html").read_text())
    assert not page.mismatched and not page.open
    images = page.attributes("img")
    assert [
        base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,"))
        for image in images
    ] == [
        (folder / f"{name}.png").read_bytes() for name in ("accuracies", "reliability", "letters")
    ]
    assert all(image["alt"] for image in images)
    text = (folder / "report.html").read_text()
    assert not re.search(r"https?://|<link|<script", text)
    stem = results.summarize(example(), "sum", GROUPS).groups[1].by_normalisation["sum"]
    for words in ("A title", "bos id", "small_stem", f"{stem.macro:.1f} ± "):
        assert words in page.words


def test_markdown_tables_have_the_same_cells_in_every_row(folder):
    lines = (folder / "report.md").read_text().splitlines()
    tables = re.findall(r"(?:^\|.*\|$\n?)+", "\n".join(lines), re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        rows = table.splitlines()
        assert len(rows) > 2 and len({row.count("|") for row in rows}) == 1
        assert set(rows[1]) <= set("|:-")
    for name in ("accuracies", "reliability", "letters"):
        assert f"]({name}.png)" in "\n".join(lines)


def test_everything_that_others_wrote_is_escaped(tmp_path):
    questions = [
        receipt(
            answer=1,
            task=SCRIPT,
            split=SCRIPT,
            question_id=f"{SCRIPT}{number}",
            subject=f"{SCRIPT}{number}",
            prompt=SCRIPT,
            option_texts=(SCRIPT, SCRIPT),
            checkpoint_digest=SCRIPT,
        )
        for number in range(2)
    ]
    found = results.summarize(questions, "sum", {SCRIPT: [SCRIPT]})
    report.write(found, questions, tmp_path, SCRIPT, {SCRIPT: SCRIPT})
    report.write_comparison([(SCRIPT, found)], tmp_path, SCRIPT, {SCRIPT: SCRIPT})
    for name, least in (("report", 10), ("comparison", 5)):
        page = Page((tmp_path / f"{name}.html").read_text())
        assert not page.mismatched and not page.attributes("script")
        assert not any("onerror" in attributes for _, attributes in page.tags)
        # It is there, as text.
        assert page.words.count("<script>alert(1)</script>") >= least
        # In Markdown it is escaped, or stands in a block of code.
        for line in (tmp_path / f"{name}.md").read_text().splitlines():
            assert "<script" not in line.replace("\\<", "") or line.startswith("    ")


def test_a_later_report_takes_the_place_of_an_earlier_one(tmp_path):
    several = [receipt(task=f"t{number}") for number in range(78)]
    report.write(results.summarize(several, "sum", {}), several, tmp_path)
    assert (tmp_path / "accuracies_2.png").exists()
    (tmp_path / "mine.png").write_bytes(b"")
    one = [receipt()]
    report.write(results.summarize(one, "sum", {}), one, tmp_path)
    assert json.loads(ledger.read_text(tmp_path / "results.json"))["overall"][0]["questions"] == 1
    assert [path.name for path in ledger.list_complete(tmp_path, "*.png")] == [
        "letters.png",
        "reliability.png",
    ]
    assert (tmp_path / "mine.png").exists() and not (tmp_path / "accuracies.png").exists()


def test_long_tables_are_folded(tmp_path):
    several = [receipt(task=f"t{number}") for number in range(report.FOLDED_ROWS + 1)]
    report.write(results.summarize(several, "sum", {}), several, tmp_path)
    assert "Every task: 31 rows" in Page((tmp_path / "report.html").read_text()).words


@pytest.fixture(scope="module")
def of_subjects(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("subjects")
    several = [
        dataclasses.replace(one, task="hard questions", unconditional=(-1.0,) * 2)
        for one in mixed()
    ]
    report.write(results.summarize(several, "sum", {}), several, path)
    return path


def test_the_mean_over_subjects_stands_in_page_and_markdown(of_subjects):
    page = Page((of_subjects / "report.html").read_text()).words
    lines = (of_subjects / "report.md").read_text().splitlines()
    assert "mean over subjects" in page and "mean over tasks" not in page
    (row,) = [line for line in lines if line.startswith("| hard questions |")]
    assert row.startswith("| hard questions | 6 | 50.0 ± 22.4 | 62.5 ± 12.5 |")
    (row,) = [line for line in lines if line.startswith("| sum |")]
    assert "| 50.0 ± 22.4 | 62.5 ± 12.5 |" in row


def test_where_there_is_one_task_of_one_subject_there_are_no_means(tmp_path):
    one = [receipt()]
    report.write(results.summarize(one, "sum", {}), one, tmp_path)
    assert "mean over" not in Page((tmp_path / "report.html").read_text()).words


def test_tables_fit_a_window_of_1100_pixels_and_charts_a_narrower_one(of_subjects):
    page = (of_subjects / "report.html").read_text()
    body, cells = (page.split(f"\n{of} {{")[1].split("}")[0] for of in ("body", "th, td"))
    side = float(re.search(r"padding: \S+ (\S+)rem", body)[1])
    inner = float(re.search(r"max-width: (\S+)rem", body)[1]) - 2 * side
    gap = 2 * float(re.search(r"padding: \S+ (\S+)rem", cells)[1])
    lines = (of_subjects / "report.md").read_text().splitlines()
    table = [line.strip("| ").split(" | ") for line in lines if re.match(r"\| (task|hard)", line)]
    # A character of DejaVu Sans, which is wide, takes 0.52 of its size on average. Heads break
    # between words, cells do not; a bar to scroll takes 16 pixels.
    width = sum(
        gap + 0.52 * max(0.8125 * max(map(len, name.split())), 0.9 * max(map(len, column)))
        for name, *column in zip(*table, strict=True)
    )
    assert len(table[0]) == 12 and width < inner < (1100 - 16) / 16 - 2 * side
    assert "max-width: 100%" in page.split("figure img {")[1].split("}")[0]


def test_a_long_name_of_a_task_leaves_its_figures_in_sight(tmp_path):
    one = [receipt(task="a_task_with_a_very_long_name" * 4)]
    report.write(results.summarize(one, "sum", {}), one, tmp_path)
    page = (tmp_path / "report.html").read_text()
    # It breaks between words.
    name = one[0].task.replace("_", "_<wbr>")
    assert f'<th scope="row"><div class="name">{name}</div></th>' in page
    style = page.split(".name {")[1].split("}")[0]
    assert "max-width" in style and "overflow-wrap: anywhere" in style


def test_receipts_of_something_else_cost_no_results(tmp_path):
    found = results.summarize([receipt()], "sum", {})
    with pytest.raises(ValueError, match=r"2 receipts.*results are of 1 questions"):
        report.write(found, [receipt(), receipt(question_id="1")], tmp_path)
    with pytest.raises(ValueError, match=r"checkpoints.*'5'.*1 questions and '1234'"):
        report.write(found, [receipt(checkpoint_digest="5")], tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["headline"] == "sum"


def test_comparison_is_written(tmp_path):
    found = results.summarize(example(), "sum", GROUPS)
    written = report.write_comparison([("one", found), ("two", found)], tmp_path, details={"n": 2})
    assert str(written) == str(tmp_path / "comparison.html")
    page = Page(written.read_text())
    assert not page.mismatched and not page.open
    for words in ("over 2 models", "stem, mean of parts", "one", "two"):
        assert words in page.words
    told = json.loads((tmp_path / "comparison.json").read_text())
    assert told["labels"] == ["one", "two"] and len(told["rows"]) == 7
    assert "| small\\_stem |" in (tmp_path / "comparison.md").read_text()


def test_writes_to_an_object_store_and_loads_matplotlib_late():
    code = (
        "import sys\n"
        "from teacherlm_jax.scoring import report, results\n"
        "from tests.scoring.receipt_example import receipt\n"
        "found = results.summarize([receipt()], 'sum', {})\n"
        "assert not {'matplotlib', 'jinja2', 'tensorflow'} & set(sys.modules)\n"
        "for _ in range(2):\n"
        "    report.write(found, [receipt()], 'gs://bucket/run/report')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    with FakeObjectStore() as store:
        run_on_object_store(store, ["-c", code])
        assert not store.refused and not store.unknown
        names = {name for name in store.buckets["bucket"] if not name.endswith(("/", ".complete"))}
    files = ("letters.png", "reliability.png", "report.html", "report.md", "results.json")
    assert names == {f"run/report/{name}" for name in files}
