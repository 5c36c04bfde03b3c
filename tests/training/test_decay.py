"""Which parameters decay."""

import pytest
from flax.core import meta

from teacherlm_jax.training import decay
from tests.training.trees import SCANNED, UNROLLED, boxed, by_path


def decaying(config, patterns=None):
    mask = decay.weight_decay_mask("AdamW.weight_decay_paths", boxed(config), patterns)
    flat = by_path(mask)
    assert flat.keys() == by_path(meta.unbox(boxed(config))).keys()
    assert set(flat.values()) <= {True, False}
    return {path for path, decays in flat.items() if decays}


@pytest.mark.parametrize("config", [UNROLLED, SCANNED])
def test_kernels_and_embeddings_decay_and_nothing_else(config):
    paths = by_path(meta.unbox(boxed(config)))
    chosen = decaying(config)
    assert {path.rpartition("/")[2] for path in chosen} == {"kernel", "embedding"}
    assert {path.rpartition("/")[2] for path in paths.keys() - chosen} == {"bias", "scale"}


def test_patterns_are_tried_on_whole_paths():
    assert decaying(SCANNED, ["layers/mlp/wi/kernel"]) == {"layers/mlp/wi/kernel"}
    assert decaying(UNROLLED, [r"layers_\d/mlp/w[io]/kernel", "decoder_norm/scale"]) == {
        "decoder_norm/scale",
        *(f"layers_{layer}/mlp/{name}/kernel" for layer in (0, 1) for name in ("wi", "wo")),
    }
    assert decaying(SCANNED, ()) == set()
    # All but the embedding.
    assert "token_embedder/embedding" not in decaying(SCANNED, [r"(?!token_embedder/).*"])


@pytest.mark.parametrize("pattern", ["mlp/wi/kernel", "layers/mlp/wi", "layers_0/.*", ""])
def test_a_pattern_that_matches_nothing_is_an_error(pattern):
    message = rf"AdamW.weight_decay_paths has '{pattern}', which matches .*decoder_norm/bias, "
    with pytest.raises(ValueError, match=message.replace(".*'", r"\.\*'")):
        decaying(SCANNED, [".*/kernel", pattern])


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (".*/kernel", r"paths = '\.\*/kernel', but it must be a list of regular"),
        ([1], r"paths = \[1\], but it must be a list of regular"),
        (["(kernel"], r"paths has '\(kernel', which is no regular expression \(missing \)"),
    ],
)
def test_what_is_no_list_of_expressions_is_an_error(patterns, message):
    with pytest.raises(ValueError, match=message):
        decay.check_patterns("AdamW.weight_decay_paths", patterns)
    with pytest.raises(ValueError, match=message):
        decaying(SCANNED, patterns)
