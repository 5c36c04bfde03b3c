import pytest
import seqio

from teacherlm_jax.data import default_vocabulary
from teacherlm_jax.data.record_source import TeacherDataSource
from teacherlm_jax.tasks import text_tasks


@pytest.mark.parametrize(
    ("inputs", "targets", "read"),
    [
        ("Is it wet?", "Yes.", "Is it wet? Yes."),
        ("Is it wet?\n", "Yes.", "Is it wet?\nYes."),
        ("Is it wet?", "\nYes.", "Is it wet?\nYes."),
        ("The answer is (", "A).", "The answer is (A)."),
        ("", "Yes.", "Yes."),
    ],
)
def test_a_decoder_reads_inputs_and_targets_with_a_space_between(
    inputs, targets, read, tmp_path, request
):
    vocabulary = seqio.ByteVocabulary()
    default_vocabulary.forget()
    default_vocabulary.choose(vocabulary)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    name = f"text_task_{abs(hash(request.node.name))}"
    text_tasks.add_training_task(
        name,
        TeacherDataSource({"train": str(tmp_path / "rows.jsonl")}),
        lambda row: [{"id": "1", "inputs": inputs, "targets": targets}],
    )
    (row,) = seqio.TaskRegistry.get(name).get_dataset(split="train").as_numpy_iterator()
    default_vocabulary.forget()
    tokens = [*row["inputs"].tolist(), *row["targets"].tolist()]
    assert tokens[-1] == vocabulary.eos_id
    assert vocabulary.decode(tokens) == read
