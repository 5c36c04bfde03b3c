"""Cross-entropy as sums.

Shape legend: B batch, T positions, V vocabulary.
"""

import jax
import jax.numpy as jnp

from teacherlm_jax.metrics.sums import WeightedSum


def cross_entropy(
    logits_BTV: jax.Array,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    z_loss: float = 0.0,
) -> dict[str, WeightedSum]:
    """Next-token loss and accuracy, summed and not yet divided.

    Args:
      logits_BTV: float32.
      targets_BT: token ids.
      weights_BT: float32, 0 where a position does not count.
      z_loss: factor on log(Z)^2, which keeps the softmax normaliser near 1 (PaLM, arXiv
        2204.02311, section 5).

    Returns:
      `loss` in nats (z-loss included) and `accuracy` as a fraction, each a WeightedSum. A target
      that ties with the largest logit counts as right.
    """
    log_normalizer_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    target_logits_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    loss_BT = log_normalizer_BT - target_logits_BT + z_loss * jnp.square(log_normalizer_BT)
    # Not argmax: it keeps an index beside every maximum, which a CPU does 10 times slower.
    best_BT = jax.lax.stop_gradient(jnp.max(logits_BTV, axis=-1))
    correct_BT = (target_logits_BT >= best_BT).astype(jnp.float32)
    weight = jnp.sum(weights_BT)
    return {
        "loss": WeightedSum(jnp.sum(loss_BT * weights_BT), weight),
        "accuracy": WeightedSum(jnp.sum(correct_BT * weights_BT), weight),
    }
