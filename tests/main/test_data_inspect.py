"""`teacherlm data inspect`."""

import pytest
import seqio

from teacherlm_jax.data import default_vocabulary
from teacherlm_jax.main import command_line, data_inspect
from tests.data import tiny_tasks

OPEN = "teacherlm_test_open"


@pytest.fixture(scope="module", autouse=True)
def open_task():
    """A task that leaves its vocabulary open and appends no EOS."""
    feature = seqio.Feature(default_vocabulary.DEFAULT, add_eos=False)
    closed = seqio.TaskRegistry.get("teacherlm_test_colors")
    seqio.TaskRegistry.add(
        OPEN,
        source=closed.source,
        preprocessors=[seqio.preprocessors.tokenize],
        output_features={"inputs": feature, "targets": feature},
    )
    yield
    seqio.TaskRegistry.remove(OPEN)


@pytest.fixture(autouse=True)
def no_vocabulary():
    default_vocabulary.forget()
    yield
    default_vocabulary.forget()


@pytest.fixture
def inspected(capfd):
    def run(*arguments: str, status: int = 0) -> str:
        capfd.readouterr()
        assert command_line.main(["data", "inspect", *arguments]) == status
        output = capfd.readouterr()
        return output.err if status else output.out

    return run


def test_a_mixture(inspected):
    text = inspected(tiny_tasks.MIXTURE, "--count=4")
    assert text.count("row ") == 4 and "warning" not in text and "\x1b" not in text
    assert "32 examples looked at" in text
    assert text == inspected(tiny_tasks.MIXTURE, "--count=4")
    assert text != inspected(tiny_tasks.MIXTURE, "--count=4", "--seed=1")


def test_packed_and_coloured(inspected):
    text = inspected(tiny_tasks.MIXTURE, "--pack", "--length=40", "--color", "--count=1")
    assert "of 40 positions used, 2 examples" in text and "\x1b[" in text


def test_an_open_vocabulary_has_to_be_chosen(inspected):
    assert "--vocabulary FOLDER" in inspected(OPEN, status=2)
    text = inspected(OPEN, "--vocabulary=bytes")
    assert "ByteVocabulary, 259 tokens" in text
    assert "warning: EOS carries no loss in 20 of 20 examples" in text


def test_evaluation_needs_no_eos(inspected):
    text = inspected("world1_mc_eval", "--split=test", "--pool=20")
    assert "warning" not in text and "evaluation" in text and "no EOS" in text


def test_a_page(inspected, tmp_path):
    assert "3 rows" in inspected(tiny_tasks.MIXTURE, f"--html={tmp_path}/page.html")
    assert "teacherlm_test_colors/train:" in (tmp_path / "page.html").read_text()


def test_bos():
    words = tiny_tasks.VOCABULARY
    assert data_inspect.bos_id_of("vocabulary", words) == 0
    assert data_inspect.bos_id_of("none", words) is None
    assert data_inspect.bos_id_of("3", words) == 3
    for wrong in ("x", "-1", "999"):
        with pytest.raises(ValueError, match="--bos"):
            data_inspect.bos_id_of(wrong, words)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing_of_that_name"], "no task or mixture"),
        ([tiny_tasks.MIXTURE, "--count=0"], "--count 0: it must be at least 1"),
        ([tiny_tasks.MIXTURE, "--seed=-1"], "--seed -1: it must be at least 0"),
        ([tiny_tasks.MIXTURE, "--split=test"], "no split 'test'"),
        ([tiny_tasks.MIXTURE, "--length=3"], "a row holds 3"),
    ],
)
def test_mistakes(inspected, arguments, says):
    assert says in inspected(*arguments, status=2)
