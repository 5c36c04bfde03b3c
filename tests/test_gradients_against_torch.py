"""The gradient of a train step, beside torch's through transformers in float64.

torch sees every example alone, without padding; the step sees them packed into rows, in
microbatches, with the loss cut into chunks. So this is also the test that packed examples never see
each other in the backward pass.
"""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from teacherlm_jax.data import batches as batches_lib
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.training import state as state_lib
from teacherlm_jax.training.step import make_train_step
from teacherlm_jax.weights import load
from tests.weights import reference_models

Z_LOSS = 1e-3
ROW_LENGTH = 64


@functools.cache
def examples() -> list[batches_lib.TokenizedExample]:
    """Examples of 5 to 30 tokens, more than four rows of them."""
    rng = np.random.default_rng(0)

    def tokens() -> np.ndarray:
        return rng.integers(0, reference_models.USED_VOCAB, rng.integers(2, 16), dtype=np.int32)

    return [batches_lib.TokenizedExample(f"e{index}", tokens(), tokens()) for index in range(18)]


def batch(loss_on: str) -> batches_lib.Arrays:
    """All examples, packed; BLOOM and Llama have no token before a text here."""
    row_format = batches_lib.RowFormat(ROW_LENGTH, None, loss_on, pack=True)
    table = batches_lib.ExampleTable("table", examples())
    batches = batches_lib.MixtureBatches([table], [1.0], row_format, 8, seed=0, num_epochs=1)
    assert batches.steps == 1
    ids, arrays = batches(0)
    assert sorted(ids) == sorted(example.example_id for example in examples())
    assert arrays["decoder_segment_ids"].max() >= 2
    return arrays


def expected_gradient(name: str, loss_on: str, folder: str):
    """torch's gradient, read as the weights of a model are read."""
    model = copy.deepcopy(reference_models.model(name)).double()
    model.get_input_embeddings().padding_idx = None  # OPT's: torch gives that row no gradient.
    weight = total = 0.0
    for example in examples():
        tokens = torch.from_numpy(np.concatenate([example.inputs, example.targets])).long()
        logits = model(tokens[None, :-1]).logits[0]
        losses = torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="none")
        losses = losses + Z_LOSS * torch.logsumexp(logits, -1) ** 2
        first = 0 if loss_on == "all" else len(example.inputs) - 1
        total = total + losses[first:].sum()
        weight += len(losses) - first
    loss = total / weight
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
    model.float().save_pretrained(folder)
    return float(loss.detach()), weight


@pytest.mark.parametrize("loss_on", ["targets", "all"])
@pytest.mark.parametrize("name", ["bloom", "opt", "llama_grouped_linear"])
def test_the_gradient_is_that_of_torch(name, loss_on, tmp_path):
    mesh = make_mesh(MeshConfig(device_count=1))
    matched, config = reference_models.matched(reference_models.save(name, tmp_path / "model"))
    params = load.load_params(matched, config, mesh)
    loss, weight = expected_gradient(name, loss_on, str(tmp_path / "gradient"))
    matched, _ = reference_models.matched(tmp_path / "gradient")
    expected = load.load_params(matched, config, mesh)

    step = jax.jit(make_train_step(Decoder(config), optax.sgd(1.0), Z_LOSS, microbatches=2))
    state = state_lib.TrainState(jnp.int32(0), params, optax.sgd(1.0).init(params))
    after, metrics = step(state, batch(loss_on), jax.random.key(0))
    assert metrics["loss"].weight == weight
    np.testing.assert_allclose(metrics["loss"].mean(), loss, rtol=1e-6)
    found = jax.tree.map(lambda old, new: old - new, params, after.params)
    for (path, leaf), wanted in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True
    ):
        # A difference of parameters is as exact as these are.
        scale = float(np.abs(wanted).max())
        assert np.abs(leaf - wanted).max() <= 2e-5 * scale + 5e-7, (path, scale)
        # A bias of the keys moves all logits of a query alike.
        assert scale > 1e-4 or jax.tree_util.keystr(path).endswith("['key']['bias']")
