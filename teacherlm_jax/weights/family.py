"""What a family of checkpoints is to the converter."""

import dataclasses
from collections.abc import Callable
from typing import Any

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.weights.config_fields import ConfigFields
from teacherlm_jax.weights.rules import Rule


@dataclasses.dataclass(frozen=True)
class Family:
    """A family, as its classes in transformers have it.

    Attributes:
      model_type: of config.json.
      architecture: class with a language-model head.
      prefix: what the tensors of the base model begin with in a model with a head; files of the
        base model alone leave it out.
      read_config: makes our configuration of theirs.
      write_config: makes their fields of our configuration; what it cannot say comes back changed
        from `read_config`.
      rules: every parameter of a configuration.
      buffers: patterns of names, without prefix, of what files may hold beside parameters and the
        model computes by itself.
    """

    model_type: str
    architecture: str
    prefix: str
    read_config: Callable[[ConfigFields], DecoderConfig]
    write_config: Callable[[DecoderConfig], dict[str, Any]]
    rules: Callable[[DecoderConfig], list[Rule]]
    buffers: tuple[str, ...] = ()


def head(config: DecoderConfig, theirs: str = "lm_head") -> list[Rule]:
    """The rule of an output projection of its own; none where it is tied to the embedding."""
    if config.logits_via_embedding:
        return []
    return [
        Rule("logits_dense/kernel", f"{theirs}.weight", "vocab token -> token vocab", in_head=True)
    ]
