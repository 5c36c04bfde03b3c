"""A real, tiny teacher annotates: the same text however the run was cut up, stopped or placed."""

import collections
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from teacherlm_jax.data import claim, ledger, records
from teacherlm_jax.generation import engine, sampling
from teacherlm_jax.generation.batching import CompilationCount
from teacherlm_jax.partitioning.mesh import MeshConfig
from teacherlm_jax.teacher import annotate, prompts, shards
from tests import tiny_study
from tests.object_store import REPOSITORY
from tests.tiny_study import random_params

FIELDS = prompts.EXPLANATION_FIELDS


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A checkpoint of a teacher that sometimes comes to an end, and sometimes at once."""
    return make_teacher(tmp_path_factory.mktemp("teacher"))


def params_of(seed=3):
    # Of the first seeds the one whose texts end now, later and never.
    return random_params(seed, eos_bias=2.0)


def make_teacher(folder, seed=3):
    return tiny_study.save_checkpoint(folder, params_of(seed))


def settings(teacher, folder, **changes):
    tiny_study.TinyStudy(0)
    values = {
        "policy": sampling.Temperature(),
        "max_new_tokens": 8,
        "max_length": 56,
        "rows_per_shard": 7,
        "batch_size": 16,
        "mesh": MeshConfig(device_count=1),
    }
    return annotate.Annotation(
        "tiny0_questions", str(folder), teacher, tiny_study.MODEL, **{**values, **changes}
    )


@pytest.fixture(scope="module")
def done(teacher, tmp_path_factory):
    """A finished run: its settings and its manifest."""
    annotation = settings(teacher, tmp_path_factory.mktemp("done"))
    return annotation, annotate.annotate(annotation)


def rejects_of(annotation):
    """(id, field) -> reject, of all shards of a folder."""
    found = {}
    for path in sorted(pathlib.Path(annotation.output_dir).glob("*.rejects.jsonl")):
        for line in ledger.read_text(path).splitlines():
            reject = shards.Reject(**json.loads(line))
            found[reject.id, reject.field] = reject
    return found


def files(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def texts(annotation):
    return {row.id: [getattr(row, field) for field in FIELDS] for row in annotate.read(annotation)}


def test_questions_come_back_in_order_with_explanations(done):
    annotation, manifest = done
    rows = tiny_study.TinyStudy(0).records()
    found = annotate.read(annotation)
    assert [(r.id, r.question, r.choices, r.answer) for r in found] == [
        (r.id, r.question, r.choices, r.answer) for r in rows
    ]
    given = [text for row in texts(annotation).values() for text in row if text]
    # Sampled text is as different as the questions are.
    assert len(set(given)) > len(given) / 2
    counts = manifest["counts"]
    assert counts["records"] == len(rows)
    assert sum(counts["explanations"].values()) == len(given)
    assert len(given) + counts["rejects"] == len(rows) * len(FIELDS)
    assert manifest["folder"] == annotation.output_dir
    again = annotate.annotate(annotation)
    assert again == manifest


def test_explanations_that_do_not_end_are_rejected_with_their_text(done):
    annotation, manifest = done
    rejects = rejects_of(annotation)
    reasons = collections.Counter(reject.reason for reject in rejects.values())
    assert set(reasons) == {annotate.CUT, annotate.EMPTY}
    assert manifest["counts"]["reject_reasons"] == dict(reasons)
    for row in annotate.read(annotation):
        for field in FIELDS:
            text, reject = getattr(row, field), rejects.get((row.id, field))
            assert bool(text) == (reject is None) == (field in row.provenance)
    vocabulary = tiny_study.vocabulary()
    for reject in rejects.values():
        # Pads decode to nothing, so a cut text may show fewer tokens than were written.
        assert bool(reject.text) == (reject.reason == annotate.CUT)
        assert (
            len(vocabulary.encode(reject.text.replace("<unk>", "a"))) <= annotation.max_new_tokens
        )


def test_the_text_is_what_the_teacher_says_after_the_prompt(done, teacher):
    """Greedily, and by hand: argmax after argmax of whole forward passes."""
    annotation, _ = done
    greedy = dataclasses.replace(
        annotation, policy=engine.GREEDY, output_dir=annotation.output_dir + "_greedy"
    )
    annotate.annotate(greedy)
    rejects = rejects_of(greedy)
    vocabulary = tiny_study.vocabulary()
    for row in annotate.read(greedy)[:3]:
        for field in FIELDS:
            prompt = prompts.annotation_prompt(row.question, row.choices, row.answer, field)
            tokens = by_hand(vocabulary.encode(prompt), greedy.max_new_tokens)
            ended = vocabulary.eos_id in tokens
            text = vocabulary.decode(tokens[: tokens.index(vocabulary.eos_id)] if ended else tokens)
            reject = rejects.get((row.id, field))
            assert text.strip() == (reject.text if reject else getattr(row, field))
            assert (reject is None) == (ended and bool(text.strip()))


def by_hand(prompt, count):
    from teacherlm_jax.models.decoder import Decoder

    model, params = Decoder(tiny_study.MODEL), params_of()
    valid = tiny_study.vocabulary().vocab_size
    forward = jax.jit(
        lambda tokens: model.apply({"params": params}, tokens, tokens, enable_dropout=False)
    )
    tokens = [0, *prompt]
    for _ in range(count):
        padded = jnp.asarray([tokens + [9] * (64 - len(tokens))])
        tokens.append(int(forward(padded)[0, len(tokens) - 1, :valid].argmax()))
    return tokens[1 + len(prompt) :]


def test_provenance_says_how_each_text_came_to_be(done):
    annotation, manifest = done
    digest = manifest["configuration"]["checkpoint_digest"]
    seen = set()
    for row in annotate.read(annotation):
        for field, origin in row.provenance.items():
            seen.add(field)
            assert origin["annotator"] == "teacher"
            assert origin["checkpoint"] == digest
            assert origin["prompt"] == prompts.PROMPT_IDS[field]
            assert origin["condition_on_answer"] is True
            assert origin["seed"] == 0
            assert origin["sampling"]["policy"] == "Temperature"
            assert origin["sampling"]["temperature"] == 1.0
    assert seen == set(FIELDS)


@pytest.mark.parametrize(
    ("batch_size", "rows_per_shard", "mesh"),
    [(3, 4, MeshConfig(device_count=1)), (8, 100, MeshConfig(data=4, fsdp=2))],
    ids=["batches_of_3", "eight_devices"],
)
def test_the_text_does_not_depend_on_batches_shards_or_devices(
    done, tmp_path, batch_size, rows_per_shard, mesh
):
    annotation, _ = done
    other = dataclasses.replace(
        annotation,
        output_dir=str(tmp_path),
        batch_size=batch_size,
        rows_per_shard=rows_per_shard,
        mesh=mesh,
    )
    annotate.annotate(other)
    assert texts(other) == texts(annotation)
    assert rejects_of(other) == rejects_of(annotation)


def test_another_seed_gives_another_text(done, tmp_path):
    annotation, _ = done
    other = dataclasses.replace(annotation, output_dir=str(tmp_path), seed=1)
    annotate.annotate(other)
    assert texts(other) != texts(annotation)


KILLED = """
import os, pathlib, signal, sys
from etils import epath
from tests.teacher import test_annotate

teacher, folder, number = sys.argv[1:]
kind = type(epath.Path(folder))
real_open = kind.open

def killing_open(self, mode="r", **kwargs):
    stream = real_open(self, mode, **kwargs)
    if "w" in mode and self.name.startswith(f"annotation-{number}") and "rejects" not in self.name:
        stream.write(b'{"id": "torn')
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return stream

kind.open = killing_open
test_annotate.annotate.annotate(test_annotate.settings(teacher, folder))
"""


def test_kill_9_loses_nothing_repeats_nothing_and_leaves_no_trace(
    done, teacher, tmp_path, monkeypatch
):
    """The third shard is cut off while it is written; another process goes on from there."""
    annotation, _ = done
    status = subprocess.run(
        [sys.executable, "-c", KILLED, teacher, str(tmp_path), "00002"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    ).returncode
    assert status == -signal.SIGKILL
    finished = ledger.list_complete(tmp_path, "annotation-*.jsonl")
    shard_names = [path.name for path in finished if "rejects" not in path.name]
    assert shard_names == ["annotation-00000-of-00003.jsonl", "annotation-00001-of-00003.jsonl"]
    assert not (tmp_path / "manifest.json").exists()
    times = {str(p): os.stat(p).st_mtime_ns for p in finished if "-00002-" not in p.name}

    asked = []
    generate = engine.Generator.generate

    def counted(self, requests, progress=None):
        asked.extend(request.example_id for request in requests)
        return generate(self, requests, progress)

    monkeypatch.setattr(engine.Generator, "generate", counted)
    annotate.annotate(dataclasses.replace(annotation, output_dir=str(tmp_path)))
    ids = [record.id for record in tiny_study.TinyStudy(0).records()]
    assert asked == [f"{id_}/{field}" for id_ in ids[14:] for field in FIELDS]
    assert {path: os.stat(path).st_mtime_ns for path in times} == times
    assert files(tmp_path) == files(annotation.output_dir)


def test_a_folder_of_another_configuration_is_refused_before_anything_compiles(done, tmp_path):
    annotation, _ = done
    before = files(annotation.output_dir)
    other = make_teacher(tmp_path, seed=0)
    count = CompilationCount()
    for changes, difference in [
        ({"checkpoint_dir": other}, "checkpoint_digest: folder has"),
        ({"policy": sampling.Temperature(top_k=50)}, "sampling.top_k: folder has None, this run"),
        ({"policy": sampling.Greedy()}, "sampling.policy: folder has 'Temperature'"),
        ({"seed": 1}, "seed: folder has 0, this run has 1"),
        ({"max_new_tokens": 7}, "max_new_tokens: folder has 8, this run has 7"),
        ({"condition_on_answer": False}, "condition_on_answer: folder has True"),
        ({"bos_id": None}, "bos_id: folder has 0"),
        ({"fields": ("fundamentals",)}, "prompts.chain_of_thought: folder has"),
    ]:
        changed = dataclasses.replace(annotation, **changes)
        with pytest.raises(claim.ConfigurationMismatchError, match=difference), count.watch():
            annotate.annotate(changed)
    assert count.total == 0
    assert files(annotation.output_dir) == before


def test_questions_that_changed_under_the_same_ids_are_another_configuration(teacher, tmp_path):
    rows = [dataclasses.replace(r, id=f"q{n}") for n, r in enumerate(_rows()[:2])]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(records.encode_jsonl(rows))
    annotation = settings(teacher, tmp_path / "out", input_file=str(file))
    annotate.annotate(annotation)
    file.write_bytes(
        records.encode_jsonl([rows[0], dataclasses.replace(rows[1], question="is it?")])
    )
    with pytest.raises(claim.ConfigurationMismatchError, match="questions_digest"):
        annotate.annotate(annotation)


def test_a_prompt_that_is_too_long_is_named_and_claims_no_folder(teacher, tmp_path):
    count = CompilationCount()
    annotation = settings(teacher, tmp_path / "out", max_length=38)
    message = r"'\w+/\w+', sample 0: \d+ prompt tokens .* max_length = 38"
    with pytest.raises(ValueError, match=message), count.watch():
        annotate.annotate(annotation)
    assert count.total == 0
    # So the remedies that the message names, which are other configurations, work there.
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"task_name": "tiny0_question"}, ValueError, "'tiny0_question'.*'tiny0_questions'"),
        ({"task_name": "tiny0_eval"}, ValueError, "task tiny0_.*_eval has no split 'train'"),
        ({"split": "test"}, ValueError, r"no split 'test'; it has \['train'\]"),
        ({"task_name": "tiny0_gold"}, records.RecordError, "tiny0_gold/train:0: field 'inputs'"),
        ({"checkpoint_dir": "/none"}, FileNotFoundError, "no checkpoint directory /none"),
        ({"input_file": "/none.jsonl"}, FileNotFoundError, "/none.jsonl"),
        ({"replica": 0}, ValueError, "holds one model, no replicas"),
    ],
)
def test_mistakes_are_found_before_the_folder_is_made(teacher, tmp_path, changes, error, message):
    annotation = settings(teacher, tmp_path / "out")
    count = CompilationCount()
    with pytest.raises(error, match=message), count.watch():
        annotate.annotate(dataclasses.replace(annotation, **changes))
    assert count.total == 0
    assert not (tmp_path / "out").exists()


def test_fields_must_be_kinds_of_explanation(teacher, tmp_path):
    for fields in ((), ("fundamental",)):
        with pytest.raises(ValueError, match="give one or more of"):
            settings(teacher, tmp_path, fields=fields)


def _rows():
    return tiny_study.TinyStudy(0).records()


def test_jsonl_is_annotated_as_the_task_is(done, teacher, tmp_path):
    annotation, _ = done
    rows = [dataclasses.replace(row, fundamentals="kept.") for row in _rows()[3:7]]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rows.jsonl").write_bytes(records.encode_jsonl(rows))
    fields = ("chain_of_thought", "common_mistakes")
    other = settings(teacher, tmp_path / "out", input_file=str(tmp_path / "in"), fields=fields)
    manifest = annotate.annotate(other)
    assert manifest["counts"]["records"] == 4
    expected = texts(annotation)
    for row in annotate.read(other):
        # What was there stays, and what is asked for is written.
        assert texts(other)[row.id] == ["kept.", *expected[row.id][1:]]
        assert "fundamentals" not in row.provenance


def test_a_text_that_came_in_does_not_stand_for_a_rejected_one(done, teacher, tmp_path):
    annotation, _ = done
    rejected = [row for row in annotate.read(annotation) if not row.fundamentals][:3]
    assert rejected
    own = {"fundamentals": {"annotator": "human"}}
    rows = [
        dataclasses.replace(row, fundamentals="mine.", provenance=own)
        for row in _rows()
        if row.id in {other.id for other in rejected}
    ]
    (tmp_path / "rows.jsonl").write_bytes(records.encode_jsonl(rows))
    again = settings(teacher, tmp_path / "out", input_file=str(tmp_path / "rows.jsonl"))
    annotate.annotate(again)
    for row in annotate.read(again):
        assert row.fundamentals == "" and "fundamentals" not in row.provenance


def test_without_the_answer_the_prompt_and_its_name_are_others(done, tmp_path):
    annotation, _ = done
    other = dataclasses.replace(annotation, condition_on_answer=False, output_dir=str(tmp_path))
    manifest = annotate.annotate(other)
    assert texts(other) != texts(annotation)
    for row in annotate.read(other):
        for field, origin in row.provenance.items():
            assert origin["condition_on_answer"] is False
            assert origin["prompt"] == prompts.prompt_id(field, False) != prompts.PROMPT_IDS[field]
    assert manifest["configuration"]["prompts"]["fundamentals"] == prompts.prompt_id(
        "fundamentals", False
    )


def test_one_of_several_replicas_is_chosen(done, tmp_path):
    annotation, _ = done
    models = [params_of(0), params_of(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    several = tiny_study.save_checkpoint(tmp_path, stacked, replicas=2)
    other = dataclasses.replace(
        annotation, checkpoint_dir=several, output_dir=str(tmp_path / "out")
    )
    with pytest.raises(ValueError, match=r"holds 2 replicas; choose one with Annotation.replica"):
        annotate.annotate(other)
    with pytest.raises(ValueError, match="replicas 0 to 1, no 2"):
        annotate.annotate(dataclasses.replace(other, replica=2))
    annotate.annotate(dataclasses.replace(other, replica=1))
    assert files(tmp_path / "out") == files(annotation.output_dir)
