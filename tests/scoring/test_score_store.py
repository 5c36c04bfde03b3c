"""What is kept of scores: across kills, tasks, orders, and files that were damaged."""

import ast
import dataclasses
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from launch import local_launch
from teacherlm_jax.data import ledger
from teacherlm_jax.metrics.finite import NonFiniteError
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.score_store import ScoreStore
from teacherlm_jax.scoring.scores import Question, ScoringPolicy
from tests.generation import tiny

POLICY = ScoringPolicy(max_length=40, bos_id=0, unconditional_prompt=())
DIGEST = "0123456789abcdef0123456789abcdef"


def questions(count=22, seed=4):
    rng = np.random.default_rng(seed)
    return [
        Question(
            f"question {number}",
            prompt,
            [
                tuple(rng.integers(0, tiny.VALID_VOCAB_SIZE, size=rng.integers(1, 4)).tolist())
                for _ in range(3)
            ],
            [f"text {option}" for option in range(3)],
        )
        for number, prompt in enumerate(tiny.prompts(count, seed=seed))
    ]


def scorer(policy=POLICY):
    # Rows of one length: every test runs the same few programs.
    return Scorer(tiny.make()[0], policy, batch_size=4, buckets=(40,))


def store(folder, digest=DIGEST):
    return ScoreStore(folder, digest, questions_per_file=4)


class Counted(Scorer):
    """A scorer that tells how many rows it ran, and may be made to stop."""

    def __init__(self, stop_after=10**9):
        super().__init__(tiny.make()[0], POLICY, batch_size=4, buckets=(40,))
        self.ran = 0
        self.stop_after = stop_after

    def run(self, params, splits, **settings):
        for numbers, values, greedy in super().run(params, splits, **settings):
            if self.ran >= self.stop_after:
                os.kill(os.getpid(), signal.SIGKILL)
            self.ran += len(numbers)
            yield numbers, values, greedy


def files(folder):
    return sorted(Path(folder).glob("*/*/*.jsonl"))


def test_scores_are_those_of_the_scorer_and_are_read_again(tmp_path):
    asked, params = questions(), tiny.make()[1]
    kept, seen = store(tmp_path), []
    found = kept.score(scorer(), params, asked, lambda done, total: seen.append((done, total)))
    assert found == scorer().score(params, asked)
    assert seen == [(0, 22), (4, 22), (8, 22), (12, 22), (16, 22), (20, 22), (22, 22)]
    assert kept.reuse.scored == 22
    counted = Counted()
    assert store(tmp_path).score(counted, params, asked) == found
    assert counted.ran == 0
    # All that is there is whole, and marked.
    assert {path.name for path in files(tmp_path)} == {
        path.name for folder in tmp_path.glob("*/*") for path in ledger.list_complete(folder)
    }


def test_the_same_tokens_are_scored_once_whatever_task_order_and_batch(tmp_path):
    asked, params = questions(), tiny.make()[1]
    first = store(tmp_path).score(scorer(), params, asked[:12])
    turned = [
        dataclasses.replace(one, question_id=f"other {n}", options=one.options[::-1])
        for n, one in enumerate(asked[::-1])
    ]
    again = [dataclasses.replace(one, question_id=f"again {n}") for n, one in enumerate(asked)]
    counted, other = Counted(), store(tmp_path)
    found = other.score(counted, params, [*turned, *again])
    assert (other.reuse.reused, other.reuse.repeated, other.reuse.scored) == (12, 22, 10)
    for one, two in zip(first, found[22:34]):
        assert one.log_likelihoods == two.log_likelihoods
        assert one.unconditional == two.unconditional
    for one, two in zip(found[:22], found[::-1][:22]):
        assert one.log_likelihoods == two.log_likelihoods[::-1]
        assert one.is_greedy == two.is_greedy[::-1]
    # Ten questions, and options alone in rows of eight.
    left = {o for one in asked[12:] for o in one.options} - {
        o for one in asked[:12] for o in one.options
    }
    assert counted.ran == 10 + -(-len(left) // 8)


def test_another_checkpoint_type_or_policy_shares_nothing_that_differs(tmp_path):
    asked, params = questions(8), tiny.make()[1]
    store(tmp_path).score(scorer(), params, asked)
    other = store(tmp_path, digest="another")
    other.score(scorer(), tiny.make(seed=1)[1], asked)
    assert other.reuse.scored == 8
    model = type(tiny.make()[0])(dataclasses.replace(tiny.make()[0].config, dtype="bfloat16"))
    half = store(tmp_path)
    half.score(Scorer(model, POLICY, batch_size=4, buckets=(40,)), params, asked)
    assert half.reuse.scored == 8
    no_bos = ScoringPolicy(max_length=40)
    other = store(tmp_path)
    assert other.score(scorer(no_bos), params, asked) == scorer(no_bos).score(params, asked)
    assert other.reuse.scored == 8
    # How options are ranked is no matter of tokens.
    other = store(tmp_path)
    policy = dataclasses.replace(POLICY, normalisation="tokens", unconditional_prompt=None)
    ranked = other.score(scorer(policy), params, asked)
    assert other.reuse.reused == 8
    assert [one.policy for one in ranked] == [policy] * 8
    assert ranked[0].unconditional is None


@pytest.mark.parametrize("damage", ["cut", "changed", "malformed", "unmarked"])
def test_damaged_files_are_named_and_scored_anew(tmp_path, damage, caplog):
    asked, params = questions(), tiny.make()[1]
    found = store(tmp_path).score(scorer(), params, asked)
    path = next(path for path in files(tmp_path) if path.name != "start.jsonl")
    text = path.read_text()
    if damage == "cut":
        path.write_text(text[:-20])
    elif damage == "changed":
        path.write_text(text.replace("-", "1", 1))
    elif damage == "malformed":
        ledger.remove(path)
        ledger.write_whole(path, text.replace('"is_greedy": ', '"greedy": ', 1))
    else:
        ledger.marker_path(path).unlink()
    kept, counted = store(tmp_path), Counted()
    assert kept.score(counted, params, asked) == found
    assert 0 < counted.ran <= 8
    assert kept.reuse.resumed + kept.reuse.scored == 22
    if damage != "unmarked":
        assert kept.reuse.removed == (str(path),)
        assert str(path) in caplog.text
    again = Counted()
    assert store(tmp_path).score(again, params, asked) == found
    assert again.ran == 0


_KILLED = """
import sys
from tests.generation import tiny
from tests.scoring.test_score_store import Counted, questions, store
store(sys.argv[1]).score(Counted(stop_after=int(sys.argv[2])), tiny.make()[1], questions())
"""


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    root = Path(__file__).parents[2]
    asked, params = questions(), tiny.make()[1]
    whole = Counted()
    expected = store(tmp_path / "whole").score(whole, params, asked)
    arguments = [str(tmp_path / "killed"), str(whole.ran - 10)]
    killed = subprocess.run([sys.executable, "-c", _KILLED, *arguments], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    kept, counted = store(tmp_path / "killed"), Counted()
    assert kept.score(counted, params, asked) == expected
    assert kept.reuse.resumed == 12
    assert kept.reuse.scored == counted.ran == 10


def test_what_is_scored_is_kept_where_a_later_question_fails(tmp_path):
    params = tiny.make()[1]
    table = params["token_embedder"]["embedding"]
    broken = {**params, "token_embedder": {"embedding": table.at[44].set(np.nan)}}
    free = [one for one in questions() if 44 not in one.prompt_tokens + sum(one.options, ())]
    policy = dataclasses.replace(POLICY, unconditional_prompt=None)
    last = Question("last", (44,), [(1,), (2,)])
    kept = ScoreStore(tmp_path, DIGEST)
    with pytest.raises(NonFiniteError, match="'last'"):
        kept.score(scorer(policy), broken, [*free, last])
    kept = ScoreStore(tmp_path, DIGEST)
    kept.score(scorer(policy), broken, free)
    assert kept.reuse.reused >= 4


def test_a_full_disk_costs_nothing_but_the_end(tmp_path, monkeypatch):
    asked, params = questions(8), tiny.make()[1]
    write, failures = ledger.write_whole, [OSError("no space left"), OSError("no space left")]

    def fails(path, content):
        if Path(path).name != "start.jsonl" and failures:
            raise failures.pop()
        return write(path, content)

    monkeypatch.setattr(ledger, "write_whole", fails)
    found = store(tmp_path).score(scorer(), params, asked)
    assert not failures
    counted = Counted()
    assert store(tmp_path).score(counted, params, asked) == found
    assert counted.ran == 0


def test_a_digest_is_needed(tmp_path):
    with pytest.raises(ValueError, match="checkpoint_digest is empty"):
        ScoreStore(tmp_path, "")


_TWO_HOSTS = """
import sys
from teacherlm_jax.partitioning import hosts
assert hosts.initialize_from_environment()
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.score_store import ScoreStore
from tests.generation import tiny
from tests.scoring.test_score_store import POLICY, questions

mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(data=-1))
everywhere = NamedSharding(mesh, PartitionSpec())
model, params = tiny.make()
params = jax.tree.map(
    lambda x: jax.make_array_from_callback(x.shape, everywhere, lambda at: np.asarray(x)[at]),
    params,
)
# Only the first host sees the folder.
folder = sys.argv[1] if jax.process_index() == 0 else "/proc/no_such_folder"
scorer = Scorer(model, POLICY, batch_size=8, mesh=mesh, buckets=(40,))
for count in (14, 22):
    store = ScoreStore(folder, "digest", questions_per_file=4)
    found = store.score(scorer, params, questions()[:count])
    print("reuse", store.reuse.reused, store.reuse.scored)
print("values", [one.log_likelihoods + one.unconditional for one in found])
"""


@pytest.mark.slow
def test_hosts_agree_on_what_one_of_them_reads_and_writes(tmp_path):
    output = io.StringIO()
    command = ["python", "-c", _TWO_HOSTS, str(tmp_path)]
    result = local_launch.launch(command, output=output, timeout_seconds=180, grace_seconds=2)
    assert result.exit_codes == [0, 0], output.getvalue()
    first, second = result.outputs
    assert first == second
    assert first.splitlines()[:2] == ["reuse 0 14", "reuse 14 8"]
    values = ast.literal_eval(first.splitlines()[2].removeprefix("values "))
    expected = scorer().score(tiny.make()[1], questions())
    for found, one in zip(values, expected, strict=True):
        np.testing.assert_allclose(found, one.log_likelihoods + one.unconditional, atol=2e-5)
