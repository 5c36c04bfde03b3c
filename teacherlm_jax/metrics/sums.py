"""Weighted sums: numerators and weights are added up, and divided once."""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class WeightedSum:
    """A mean in the making.

    Attributes:
      total: float32, sum of weight x value.
      weight: float32, sum of weights.
    """

    total: jax.Array
    weight: jax.Array

    def __add__(self, other: "WeightedSum") -> "WeightedSum":
        return WeightedSum(self.total + other.total, self.weight + other.weight)

    def mean(self) -> jax.Array:
        """The mean; 0 where nothing carried weight."""
        return self.total / jnp.maximum(self.weight, 1e-9)
