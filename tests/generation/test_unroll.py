import numpy as np

from teacherlm_jax.generation.unroll import unrolled
from tests.generation import tiny


def test_the_unrolled_model_gives_the_same_logits():
    model, params = tiny.make()
    flat_model, flat_params = unrolled(model, params)
    assert model.scan_layers and not flat_model.scan_layers
    assert set(flat_params) == {*params, "layers_0", "layers_1"} - {"layers"}
    tokens = tiny.prompts(1, seed=3)[0]
    np.testing.assert_allclose(
        tiny.uncached_logits(flat_model, flat_params, tokens),
        tiny.uncached_logits(model, params, tokens),
        atol=1e-5,
    )
    assert unrolled(flat_model, flat_params) == (flat_model, flat_params)
