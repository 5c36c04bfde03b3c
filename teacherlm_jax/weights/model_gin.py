"""A model's configuration as a gin file."""

import dataclasses

from teacherlm_jax.models.config import DecoderConfig


def gin_text(config: DecoderConfig, header: str) -> str:
    """A gin file that binds what differs from DecoderConfig's defaults.

    Args:
      config: the model.
      header: a comment of some lines.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    lines += ["from __gin__ import dynamic_registration", "from teacherlm_jax.models import config"]
    if config.rope_scaling is not None:
        lines.append("from teacherlm_jax.models import positions")
    lines += ["", "config.DecoderConfig:"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "rope_scaling" and value is not None:
            lines.append("  rope_scaling = @positions.RopeScaling()")
        elif value != field.default:
            lines.append(f"  {field.name} = {value!r}")
    if config.rope_scaling is not None:
        lines += ["", "positions.RopeScaling:"]
        values = dataclasses.asdict(config.rope_scaling)
        lines += [f"  {name} = {value!r}" for name, value in values.items()]
    return "\n".join(lines) + "\n"
