"""The report's files, page and table, read back as a reader's program would."""

from __future__ import annotations

import base64
import json
import pathlib
import re
import struct
from xml.etree import ElementTree

import numpy as np
import pytest

from teacherlm_jax.students import plots, report
from tests.object_store import FakeObjectStore, run_on_object_store
from tests.page import Page
from tests.students.report_example import ARMS, example_results, small, two_arms

SCRIPT = '</script></code><script>alert(1)</script>"><img src=x onerror=alert(2)>|*_`'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The report of the whole example: seven arms, two seeds, all sections."""
    path = tmp_path_factory.mktemp("report") / "made" / "by" / "the" / "report"
    written = report.write_report(example_results(), path)
    assert str(written) == str(path / "report.html")
    return path


@pytest.fixture(scope="module")
def page(folder: pathlib.Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def svgs(page: Page) -> list[ElementTree.Element]:
    """The charts inside a page, in order: of each, all variants."""
    sources = [tag.get("srcset") for tag in page.attributes("source")]
    sources += [tag.get("src") for tag in page.attributes("img")]
    head = "data:image/svg+xml;base64,"
    assert all(source and source.startswith(head) for source in sources)
    return [ElementTree.fromstring(base64.b64decode(str(one)[len(head) :])) for one in sources]


# Files


def test_writes_results_pages_and_charts(folder: pathlib.Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "arms.png",
        "learning_curves.png",
        "report.html",
        "report.md",
        "results.json",
        "validation_curves.png",
    ]
    for path in folder.glob("*.png"):
        content = path.read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        assert content[:8] == b"\x89PNG\r\n\x1a\n" and width == 1720 and height > 500, path


def test_results_json_is_strict_and_the_same_numbers(folder: pathlib.Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = (folder / "results.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == example_results()


def test_numpy_numbers_become_json_and_nan_becomes_null(tmp_path: pathlib.Path) -> None:
    results = small(chance=np.float32(44.5), seeds=np.arange(2))
    results["arms"]["plain"]["accuracy_per_seed"] = np.asarray([50.5, np.nan])
    report.write_report(results, tmp_path)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["chance"] == 44.5 and written["seeds"] == [0, 1]
    assert written["arms"]["plain"]["accuracy_per_seed"] == [50.5, None]
    # The report's own file can be reported again.
    report.table(written)


def test_writes_to_an_object_store_and_leaves_matplotlib_as_it_was() -> None:
    code = (
        "import sys\n"
        "from teacherlm_jax.students import report\n"
        "from tests.students.report_example import example_results\n"
        "results = example_results(only=('plain', 'fundamentals'), curves=False)\n"
        "report.table(results)\n"
        "assert not {'matplotlib', 'jinja2'} & set(sys.modules)\n"
        "import matplotlib\n"
        "names = ('font.family', 'font.size', 'text.color', 'axes.facecolor', 'svg.fonttype')\n"
        "before = [matplotlib.rcParams[name] for name in names]\n"
        "report.write_report(results, 'gs://bucket/run/report')\n"
        "assert [matplotlib.rcParams[name] for name in names] == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    with FakeObjectStore() as store:
        run_on_object_store(store, ["-c", code])
        assert not store.refused and not store.overwritten and not store.unknown
        names = {name for name in store.buckets["bucket"] if not name.endswith("/")}
    files = ("arms.png", "report.html", "report.md", "results.json")
    assert names == {f"run/report/{name}" for name in files}


def test_same_results_give_the_same_bytes(tmp_path: pathlib.Path) -> None:
    for name in ("one", "two"):
        report.write_report(small(), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


# The page


def test_page_is_well_formed_and_loads_nothing(page: Page) -> None:
    assert not page.mismatched and not page.open
    assert not page.attributes("script") and not page.attributes("link")
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "srcset", "href"):
                assert value is not None and value.startswith("data:image/svg+xml;base64,")
    assert all("://" not in (value or "") for _, tag in page.tags for value in tag.values())
    assert "url(" not in page.words


def test_page_is_accessible(page: Page) -> None:
    assert page.attributes("html") == [{"lang": "en"}]
    images, tables = page.attributes("img"), page.attributes("table")
    assert len(images) == 3 and all(len(image.get("alt") or "") > 60 for image in images)
    assert len(tables) == len(page.attributes("caption")) > 5
    assert all(tag.get("scope") in ("row", "col") for tag in page.attributes("th"))
    names = [tag["id"] for _, tag in page.tags if "id" in tag]
    assert len(names) == len(set(names))
    labels = [tag["aria-labelledby"] for tag in page.attributes("section")]
    assert len(labels) == 7 and set(labels) <= set(names)


def test_page_has_each_chart_for_every_screen(page: Page) -> None:
    media = [str(tag["media"]) for tag in page.attributes("source")] + [""] * 3
    charts = svgs(page)
    assert len(charts) == 12
    for svg, condition in zip(charts, media, strict=True):
        text = ElementTree.tostring(svg, encoding="unicode")
        assert (plots.DARK[plots.PAGE] in text) == ("dark" in condition)
        assert (float(svg.attrib["width"].removesuffix("pt")) < 300) == ("600px" in condition)


def test_page_tells_what_the_results_hold(page: Page) -> None:
    results = example_results()
    words = re.sub(r"\s+", " ", page.words)
    for arm in results["arms"].values():
        told = [arm["accuracy_mean"], *arm["by_type"].values(), *arm["accuracy_per_seed"]]
        assert all(f"{value:.1f}" in words for value in told)
        assert arm["meaning"] in words
    for rates in results["teacher"].values():
        assert all(f"{value:g}" in words for value in rates.values())
    for sample in results["samples"]:
        assert sample["question"] in words
        for texts in sample["explanations"].values():
            assert texts["teacher"] in words and texts["gold"] in words
    assert words.count("✓ true") == 2 and words.count("✗ not true") == 2
    assert words.count("← answer") == 2 and "(B) qualif ← answer" in words
    for text in (*results["caveats"], "--gin.SEEDS=2", "5 min 09 s", "TFRT_CPU_0, TFRT_CPU_1"):
        assert text in words
    assert "44.4%" in words and "9000" in words


def test_markdown_tells_the_same(folder: pathlib.Path) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    results = example_results()
    for arm in results["arms"].values():
        cells = [f"{value:.1f}" for value in arm["accuracy_per_seed"]]
        assert f"| {' | '.join(cells)} |" in text
    for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text):
        assert (folder / name).exists()
    assert text.count("](") == 3
    # Every row of a table has as many cells as its header.
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block
    assert "    teacherlm quickstart \\\n      --gin.SEEDS=2\n" in text


def test_everything_that_was_generated_is_escaped(tmp_path: pathlib.Path) -> None:
    results = small(command=SCRIPT, caveats=[SCRIPT], environment={SCRIPT: [SCRIPT]})
    results["arms"][SCRIPT] = {**results["arms"].pop("fundamentals"), "meaning": SCRIPT}
    results["arms"][SCRIPT]["learning_curve"] = [{"step": 1, "loss": 2.0}]
    results["steps"] = {SCRIPT: SCRIPT}
    results["teacher"] = {"truth_rate": {SCRIPT: 1.0}, "coverage": {SCRIPT: 2.0}}
    texts = {"teacher": SCRIPT, "gold": SCRIPT * 40, "true": False}
    results["samples"] = [
        {
            "question": SCRIPT,
            "choices": [SCRIPT],
            "answer": "A",
            "type": SCRIPT,
            "explanations": {SCRIPT: texts},
        }
    ]
    page = Page(report.write_report(results, tmp_path).read_text())
    assert not page.mismatched and not page.open
    assert not page.attributes("script") and len(page.attributes("img")) == 2
    assert not [name for _, tag in page.tags for name in tag if name.startswith("on")]
    assert page.words.count(SCRIPT) > 50
    for svg in svgs(page):
        assert not [tag for tag in svg.iter() if tag.tag.endswith(("script", "image", "img"))]
    prose = re.sub(r"(?m)^    .*$", "", (tmp_path / "report.md").read_text())
    assert re.search(r"\\<script", prose) and not re.search(r"(?<!\\)<", prose)


def test_long_explanations_are_folded_and_whole(tmp_path: pathlib.Path) -> None:
    long = "the luvik lives in gobosford and " * 200
    results = small()
    results["samples"][0]["explanations"]["fundamentals"]["teacher"] = long
    page = Page(report.write_report(results, tmp_path).read_text())
    assert len(page.attributes("details")) == 1 and long in page.words
    markdown = (tmp_path / "report.md").read_text()
    assert long not in markdown and f"{len(long)} characters, whole in results.json" in markdown


def test_sections_without_data_are_left_out(tmp_path: pathlib.Path) -> None:
    results = {
        "arms": {
            "plain": {"accuracy_mean": 50.0, "accuracy_per_seed": [50.0]},
            "wrong_type": {"accuracy_mean": 45.0, "accuracy_per_seed": [45.0]},
        }
    }
    page = Page(report.write_report(results, tmp_path).read_text())
    assert not page.mismatched
    headings = ["Accuracy by arm", "What each arm means", "How to repeat it"]
    assert [name for name in headings if name in page.words] == headings
    assert len(page.attributes("h2")) == 3 and len(page.attributes("table")) == 1
    assert "Students of the arm “wrong type” score 45.0%" in page.words
    assert "a loss of 5.0 points" in page.words
    markdown = (tmp_path / "report.md").read_text()
    assert "None" not in markdown and "nan" not in markdown and "The teacher" not in markdown


# The terminal's table


def test_table_of_two_seeds() -> None:
    results = two_arms([50.0, 52.0], [60.0, 70.0], "fundamentals")
    results["chance"] = 44.44
    results["arms"]["plain"]["by_type"] = {"both": 51.0, "tf": 50.25}
    results["arms"]["fundamentals"]["trained_tokens"] = 540_321
    assert report.table(results).splitlines() == [
        "accuracy in percent over 2 runs of each arm, chance 44.4",
        "",
        "arm            mean ± sd   to plain (min to max)    tf  both  tokens  seed 0  seed 1",
        "------------  ----------  ----------------------  ----  ----  ------  ------  ------",
        "plain         51.0 ± 1.0                          50.2  51.0       –    50.0    52.0",  # noqa: RUF001
        "fundamentals  65.0 ± 1.0  +14.0 (+10.0 to +18.0)     –     –    540k    60.0    70.0",  # noqa: RUF001
    ]


def test_table_of_one_run_has_no_spread() -> None:
    lines = report.table(two_arms([50.0], [47.0], "fundamentals")).splitlines()
    assert lines[0] == "accuracy in percent over 1 run of each arm"
    assert "±" not in "".join(lines) and "-3.0" in lines[-1]


def test_table_of_nine_runs_is_aligned() -> None:
    results = example_results((0, 1, 2), (0, 1, 2))
    blocks = report.table(results).split("\n\n")
    assert len(blocks) == 4
    for block in (blocks[1], blocks[3]):
        lines = block.splitlines()
        assert len(lines) == 2 + len(ARMS) and len({len(line) for line in lines}) == 1
        assert max(map(len, lines)) <= 100
    header, _, values, *_ = blocks[3].splitlines()
    runs = [name for world in range(3) for seed in range(3) for name in (f"w{world}", f"s{seed}")]
    assert header.split() == ["arm", *runs]
    accuracies = results["arms"]["plain"]["accuracy_per_seed"]
    assert values.split() == ["plain", *(f"{value:.1f}" for value in accuracies)]


def test_malformed_results_are_kept(tmp_path: pathlib.Path) -> None:
    results = small(chance="low")
    with pytest.raises(ValueError, match=r"results\['chance'\] is 'low'.*results\.json"):
        report.write_report(results, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["chance"] == "low"
    with pytest.raises(ValueError, match=r"results\['chance'\]"):
        report.table(results)
