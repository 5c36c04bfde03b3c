"""`teacherlm data cache`, as far as it goes without Apache Beam; `test_seqio_cache` has the job."""

import importlib.util

import pytest
import seqio

from teacherlm_jax.data import default_vocabulary, seqio_cache
from teacherlm_jax.main import command_line
from tests.data import tiny_tasks

NAME, MIXTURE = "teacherlm_test_cacheable", "teacherlm_test_half_cacheable"


@pytest.fixture
def cache(capfd, monkeypatch, tmp_path):
    """Runs the command with a job that records what it is asked for, and leaves statistics."""
    colors = seqio.TaskRegistry.get("teacherlm_test_colors")
    seqio.TaskRegistry.add(
        NAME,
        source=colors.source,
        output_features=colors.output_features,
        preprocessors=[seqio.preprocessors.tokenize, seqio.CacheDatasetPlaceholder()],
    )
    seqio.MixtureRegistry.add(MIXTURE, [(NAME, 1), (colors.name, 1)])
    asked = []

    def write(tasks, settings):
        asked.append(([task.name for task in tasks], settings))
        for task in tasks:
            seqio_cache.check_cacheable(task)
            folder = tmp_path / task.name
            folder.mkdir()
            (folder / "stats.train.json").write_text('{"examples": 20, "targets_tokens": 90}')
        return {task.name: "written" for task in tasks}

    monkeypatch.setattr(seqio_cache, "write", write)
    has = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name == "apache_beam" or has(name)
    )

    def run(*arguments: str, status: int = 0):
        capfd.readouterr()
        command = ["data", "cache", *arguments, f"--to={tmp_path}"]
        assert command_line.main(command) == status
        output = capfd.readouterr()
        return asked, output.err if status else output.out

    yield run
    seqio.MixtureRegistry.remove(MIXTURE)
    seqio.TaskRegistry.remove(NAME)
    default_vocabulary.forget()


def test_a_task(cache, tmp_path):
    ((names, settings),), text = cache(
        NAME,
        "--runner=DataflowRunner",
        "--pipeline_options=--project=mine",
        "--pipeline_options=--region=here",
        "--shards=5",
        "--seed=3",
    )
    assert names == [NAME] and settings.to == str(tmp_path)
    assert settings.runner == "DataflowRunner"
    assert list(settings.options) == ["--project=mine", "--region=here"]
    assert (settings.shards, settings.seed, settings.overwrite) == (5, 3, False)
    assert "teacherlm_jax.tasks.world" in settings.modules
    assert "20 examples, 90 tokens without EOS" in text and "add_global_cache_dirs" in text


def test_workers_get_the_vocabulary(cache):
    ((_, settings),), _ = cache(NAME, "--vocabulary=bytes", "--data_dir=/some/folder")
    assert settings.setup.vocabulary == seqio.ByteVocabulary()
    assert settings.setup.data_dir == "/some/folder"


def test_a_mixture_leaves_out_what_cannot_be_cached(cache):
    ((names, _),), text = cache(MIXTURE)
    assert names == [NAME] and "teacherlm_test_colors: left out" in text
    assert "has no task that can be cached" in cache(tiny_tasks.MIXTURE, status=2)[1]


def test_mistakes(cache, monkeypatch):
    assert "--shards 0: it must be at least 1" in cache(NAME, "--shards=0", status=2)[1]
    assert "no task or mixture" in cache("nothing_of_that_name", status=2)[1]
    assert "CacheDatasetPlaceholder" in cache("teacherlm_test_colors", status=2)[1]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'teacherlm_jax[cache]'" in cache(NAME, status=2)[1]
