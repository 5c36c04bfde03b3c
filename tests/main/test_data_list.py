"""`teacherlm data list` on the tasks of the package."""

import json
import re

import pytest
import seqio

from teacherlm_jax.main import command_line


@pytest.fixture
def listed(capfd):
    """What the command prints."""

    def run(*arguments: str, status: int = 0) -> str:
        capfd.readouterr()
        assert command_line.main(["data", "list", *arguments]) == status
        output = capfd.readouterr()
        return output.err if status else output.out

    return run


@pytest.fixture
def package_tasks_alone(monkeypatch):
    """Hides what other tests of this process registered, which groups would take in."""
    import teacherlm_jax.tasks.mixtures
    import teacherlm_jax.tasks.world  # noqa: F401

    own = re.compile(
        r"(world[012]|muffin|p3|pretraining|questions|teacherdata|teacher|mmlu)_(?!student)"
    )
    ends = re.compile(r"(?!tiny|file|bad|pets|llama).*_(letters|options)")
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        kept = {
            name: provider
            for name, provider in registry._REGISTRY.items()
            if own.match(name) or ends.fullmatch(name)
        }
        monkeypatch.setattr(registry, "_REGISTRY", kept)


def test_groups_fold_what_they_hold(listed, package_tasks_alone):
    lines = listed().splitlines()
    assert lines[0].split() == ["group", "tasks", "mixtures", "rows", "here", "sources"]
    (world,) = [line.split() for line in lines if line.strip().startswith("world1_*  ")][:1]
    assert world[:3] == ["world1_*", "33", "14"] and "33 of 33" in " ".join(world)
    assert not any("world1_corpus" in line for line in lines)
    assert len(lines) < 100 and max(map(len, lines)) <= 100


def test_everything_is_listed_where_it_is_asked_for(listed):
    lines = listed("--all").splitlines()
    assert any(line.split()[:2] == ["world1_corpus", "train"] for line in lines)
    assert max(map(len, lines)) <= 100


def test_a_mixture_by_itself(listed):
    head, _, *rows = listed("world1_teacher").splitlines()
    assert "mixture of 19 tasks" in head
    assert [cell.strip() for cell in rows[0].split("  ") if cell.strip()][:2] == [
        "world1_corpus",
        "25.00 %",
    ]
    shares = [float(row.split()[1]) for row in rows]
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_a_task_by_itself(listed):
    text = listed("world1_mc_eval")
    assert "validation" in text and "1,425 rows" in text


def test_other_worlds_are_made_when_they_are_asked_for(listed):
    assert "world5_base_text" in listed("world5_base")


def test_json(listed):
    (entry,) = json.loads(listed("world1_corpus", "--json"))
    assert entry["kind"] == "task" and entry["examples"]["train"] > 100
    entries = json.loads(listed("world1_*", "--json"))
    assert len(entries) == 33 + 14 and {entry["kind"] for entry in entries} == {"task", "mixture"}


def test_modules_of_ones_own(listed, tmp_path, monkeypatch):
    (tmp_path / "their_list_tasks.py").write_text(
        "import seqio\nseqio.MixtureRegistry.add('their_mixture', [('world1_corpus', 1)])\n"
    )
    monkeypatch.chdir(tmp_path)
    assert "their_mixture: a mixture of 1" in listed("their_mixture", "--module=their_list_tasks")
    assert "no such module" in listed("--module=nobodys_tasks", status=2)


def test_names_that_are_not_there(listed):
    assert "nearest are" in listed("world1_korpus", status=2)
