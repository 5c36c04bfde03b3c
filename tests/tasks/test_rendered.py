"""Tasks over published rendered files."""

import numpy as np
import pytest
import seqio

from teacherlm_jax.data import data_setup, default_vocabulary, text_rows
from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks import rendered
from tests.data.test_rendered_files import write, write_records
from tests.tasks import hosts


@pytest.fixture(autouse=True)
def vocabulary():
    default_vocabulary.forget()
    default_vocabulary.choose(seqio.ByteVocabulary())
    yield
    default_vocabulary.forget()


def texts(task, split="train"):
    rows = text_rows.of_task(seqio.TaskRegistry.get(task), split)
    return [(row.id, row.texts["inputs"], row.texts["targets"]) for row in rows]


def numbered(count, word="q"):
    return [{"inputs": f"{word} {n}?", "targets": f"a {n}"} for n in range(count)]


def test_a_mirror_of_p3(tmp_path):
    row = {"inputs": [1], "inputs_pretokenized": [b"Is it? "], "targets_pretokenized": [b"yes"]}
    write_records(tmp_path / "cb_is_it" / "train.tfrecord-00000-of-00001", [row])
    write_records(tmp_path / "cb_is_it" / "validation.tfrecord-00000-of-00001", [row] * 2)
    write_records(tmp_path / "cb_is_it_score_eval" / "train.tfrecord-00000-of-00001", [row])
    write(tmp_path / "anli_so" / "train.jsonl", numbered(20))
    name = rendered.mixture(tmp_path, max_examples=8, name="p3_here")
    mixture = seqio.MixtureRegistry.get(name)
    rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    assert rates == {"p3_here_anli_so": 8.0, "p3_here_cb_is_it": 1.0}
    assert texts("p3_here_cb_is_it") == [("cb_is_it:0", "Is it? ", "yes")]
    assert len(texts("p3_here_cb_is_it", "validation")) == 2
    capped = texts("p3_here_anli_so")
    assert len(capped) == 8 and texts("p3_here_anli_so") == capped
    assert all(inputs == f"q {id_[8:]}?" and out == f" a {id_[8:]}" for id_, inputs, out in capped)
    rendered.mixture(tmp_path, max_examples=8, seed=1, name="p3_seed1")
    assert texts("p3_seed1_anli_so") != capped
    rendered.mixture(tmp_path, max_examples=4, name="p3_four")
    assert set(texts("p3_four_anli_so")) < set(capped)
    (example,) = seqio.TaskRegistry.get("p3_here_cb_is_it").get_dataset(split="train")
    assert example["targets"].numpy().tolist()[-1] == seqio.ByteVocabulary().eos_id


def test_hosts_share_one_capped_part(tmp_path):
    write(tmp_path / "anli_so" / "train.jsonl", numbered(40))
    rendered.mixture(tmp_path, max_examples=8, name="p3_hosts")
    assert len(hosts.check_parts("p3_hosts_anli_so", (2, 4))) == 8


def test_a_mirror_of_flan_and_a_name_that_is_taken(tmp_path):
    write(tmp_path / "train" / "arc_10templates_train.jsonl", numbered(3))
    write(tmp_path / "train" / "rte_10templates_train.jsonl", numbered(2))
    assert rendered.mixture(tmp_path, kind="flan") == "flan_rendered"
    assert rendered.mixture(tmp_path, kind="flan") == "flan_rendered"
    tasks = {task.name for task in seqio.MixtureRegistry.get("flan_rendered").tasks}
    assert tasks == {"flan_rendered_arc_10templates", "flan_rendered_rte_10templates"}
    with pytest.raises(ValueError, match="registered already"):
        rendered.mixture(tmp_path, kind="flan", include="arc*")


def test_options_are_ranked(tmp_path):
    rows = []
    for question in (4, 9):  # Filters of P3 leave gaps.
        for option, choice in enumerate((b"yes", b"no")):
            row = {"inputs_pretokenized": [b"Q%d" % question], "targets_pretokenized": [choice]}
            row |= {"answer_choices": [b"yes", b"no"], "idx": [question, option]}
            rows.append({**row, "is_correct": [int(option == 1)]})
    write_records(tmp_path / "cb_score_eval" / "validation.tfrecord-00000-of-00001", rows)
    name = rendered.evaluation(tmp_path, "cb_score_eval")
    task = seqio.TaskRegistry.get(name)
    found = list(task.get_dataset(split="validation", shuffle=False).as_numpy_iterator())
    assert [row["idx"].tolist() for row in found] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [bool(row["is_correct"]) for row in found] == [False, True, False, True]
    assert [row["targets_pretokenized"] for row in found] == [b" yes", b" no", b" yes", b" no"]
    second = task.get_dataset(split="validation", shuffle=False, shard_info=seqio.ShardInfo(1, 2))
    assert [row["idx"].tolist() for row in second.as_numpy_iterator()] == [[0, 1], [1, 1]]
    targets = [task.postprocess_fn("", example=row, is_target=True) for row in found]
    (metric,) = task.metric_fns
    assert metric(targets, np.array([0.0, 1.0, 1.0, 0.0]))["accuracy"] == 50.0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"inputs": "q"}, "targets_pretokenized"),
        ({"inputs": " ", "targets": "a"}, "inputs.*not empty"),
        ({"inputs": [1, 2], "targets": "a"}, "inputs is .1, 2."),
    ],
)
def test_malformed_rows_are_named_or_left_out(tmp_path, row, message):
    write(tmp_path / "odd" / "train.jsonl", [*numbered(1), row])
    name = rendered.mixture(tmp_path, name=f"p3_{tmp_path.name}")
    with pytest.raises(RowError, match=rf"train\.jsonl:2: .*{message}"):
        texts(f"{name}_odd")
    data_setup.DataSetup(malformed_rows="skip").apply()
    assert [inputs for _, inputs, _ in texts(f"{name}_odd")] == ["q 0?"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"kind": "p4"}, "must be one of"), ({"max_examples": 0}, "at least 1")],
)
def test_arguments_that_make_no_sense(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        rendered.mixture(tmp_path, **arguments)
