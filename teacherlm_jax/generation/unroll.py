"""Scanned layers laid out one by one, which decodes faster."""

import dataclasses
from typing import Any

import jax
from flax import linen as nn

Params = Any


def unrolled(model: nn.Module, params: Params) -> tuple[nn.Module, Params]:
    """The same decoder without the scan over its layers.

    A scan copies the whole cache at every decoding step, which on small models costs more than
    the arithmetic. Unrolled, a step writes the new token alone; compilation time then grows with
    the layers, and the layers' parameters are held a second time while the stacked ones live.

    Args:
      model: `models.decoder.Decoder`.
      params: its parameters, without boxes.

    Returns:
      A model with `scan_layers` off and its parameters; what came in, where it is off already.
    """
    if not model.scan_layers:
        return model, params
    config = dataclasses.replace(model.config, scan_layers=False)
    flat = {name: value for name, value in params.items() if name != "layers"}
    for layer in range(config.num_layers):
        flat[f"layers_{layer}"] = jax.tree.map(lambda leaf, at=layer: leaf[at], params["layers"])
    return type(model)(config), flat
