"""Reversible rules between our parameters and the tensors of other people's checkpoints.

A checkpoint's tensor is row-major, so it can be seen with its axes split at no cost; a part of it
may be one of ours (fused projections), and its axes may come in another order. That is all that
the families need: a rule is a line of text, and reading and writing are both derived from it.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.weights.tensors import LazyTensor

Box = Sequence[tuple[int, int]]

LAYERS = "layers"
# The axis along which a fused tensor holds several of our parameters.
PART = "part"

_PATTERN = re.compile(r"\(([^)]*)\)|(\S+)")


@dataclasses.dataclass(frozen=True)
class Rule:
    """One of our parameters, and where it stands among a family's tensors.

    Attributes:
      ours: path of our parameter; within the blocks it begins with "layers/".
      theirs: name of the tensor without the base model's prefix; "{layer}" is the block's number.
      axes: "theirs -> ours", as in "(heads part kv) embed -> embed heads kv". Round brackets hold
        what is one axis in the file; names are those of `axis_sizes`.
      part: which part is ours, where the tensor has an axis "part".
      parts: how many there are.
      in_head: whether the tensor belongs to the model with a head and so carries no prefix.
    """

    ours: str
    theirs: str
    axes: str
    part: int = 0
    parts: int = 1
    in_head: bool = False

    @property
    def is_layered(self) -> bool:
        """Whether every block has such a tensor."""
        return self.ours.startswith(f"{LAYERS}/")

    @functools.cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Axes of the file's tensor, each with the names that it is split into."""
        found = _PATTERN.findall(self.axes.partition(" -> ")[0])
        return tuple(tuple((inside or alone).split()) for inside, alone in found)

    @functools.cached_property
    def view(self) -> tuple[str, ...]:
        """Names of the split axes, in the file's order."""
        return tuple(name for group in self.groups for name in group)

    @functools.cached_property
    def order(self) -> tuple[str, ...]:
        """Names of our axes, in our order."""
        return tuple(self.axes.partition(" -> ")[2].split())

    def their_shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape that the file's tensor must have."""
        return tuple(
            int(np.prod([self._size(name, sizes) for name in group])) for group in self.groups
        )

    def view_shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape as which the file's tensor is seen."""
        return tuple(self._size(name, sizes) for name in self.view)

    def read(self, tensor: LazyTensor, sizes: Mapping[str, int], box: Box) -> np.ndarray:
        """Reads a box of our parameter from the file's tensor, in the file's type.

        Args:
          tensor: of the shape `their_shape`.
          sizes: of `axis_sizes`.
          box: (start, stop) for each of our axes.
        """
        ranges = {**dict(zip(self.order, box, strict=True)), PART: (self.part, self.part + 1)}
        values = tensor.read_box(self.view_shape(sizes), [ranges[name] for name in self.view])
        kept = [name for name in self.view if name != PART]
        values = values.reshape([values.shape[self.view.index(name)] for name in kept])
        return values.transpose([kept.index(name) for name in self.order])

    def write(self, values: np.ndarray, out: np.ndarray) -> None:
        """Puts our parameter into its place in the file's tensor.

        Args:
          values: our parameter, whole.
          out: the file's tensor, seen as `view_shape`; changed.
        """
        kept = [name for name in self.view if name != PART]
        place = tuple(self.part if name == PART else slice(None) for name in self.view)
        out[place] = values.transpose([self.order.index(name) for name in kept])

    def _size(self, name: str, sizes: Mapping[str, int]) -> int:
        return self.parts if name == PART else sizes[name]


def axis_sizes(config: DecoderConfig) -> dict[str, int]:
    """Sizes of the axes that rules name."""
    return {
        "embed": config.emb_dim,
        "heads": config.num_heads,
        "kv_heads": config.kv_heads,
        "kv": config.head_dim,
        "mlp": config.mlp_dim,
        "positions": (config.max_positions or 0) + config.position_offset,
        "token": config.token_width,
        "vocab": config.vocab_size,
    }


def norm(ours: str, theirs: str, axis: str = "embed", bias: bool = True) -> list[Rule]:
    """Rules of a norm: its scale and, in a LayerNorm, its bias."""
    rules = [Rule(f"{ours}/scale", f"{theirs}.weight", f"{axis} -> {axis}")]
    if bias:
        rules.append(Rule(f"{ours}/bias", f"{theirs}.bias", f"{axis} -> {axis}"))
    return rules


def dense(ours: str, theirs: str, axes: str, bias: bool | None, **part: Any) -> list[Rule]:
    """Rules of a projection, whose weight is stored with the outputs first.

    Args:
      ours: path of the module.
      theirs: name of the module.
      axes: "(outputs) inputs -> inputs outputs".
      bias: whether there is a bias, of the shape of the outputs.
      **part: `part` and `parts` of `Rule`.
    """
    rules = [Rule(f"{ours}/kernel", f"{theirs}.weight", axes, **part)]
    if bias:
        first = re.match(r"\([^)]*\)|\S+", axes)
        assert first is not None
        outputs = first[0]
        names = [name for name in outputs.strip("()").split() if name != PART]
        rules.append(
            Rule(f"{ours}/bias", f"{theirs}.bias", f"{outputs} -> {' '.join(names)}", **part)
        )
    return rules


def fused_block(block: str, attention: str, attention_bias: bool | None) -> list[Rule]:
    """Rules of the projections of a block as BLOOM and GPT-NeoX name them.

    Queries, keys and values are one tensor, head by head.

    Args:
      block: name of the block, "{layer}" in it.
      attention: name of the attention within it.
      attention_bias: whether attention's projections have biases; the feed-forward's have.
    """
    ours = f"{LAYERS}/self_attention"
    rules = [
        *dense(
            f"{ours}/out",
            f"{block}.{attention}.dense",
            "embed (heads kv) -> heads kv embed",
            attention_bias,
        ),
        *dense(f"{LAYERS}/mlp/wi", f"{block}.mlp.dense_h_to_4h", "mlp embed -> embed mlp", True),
        *dense(f"{LAYERS}/mlp/wo", f"{block}.mlp.dense_4h_to_h", "embed mlp -> mlp embed", True),
    ]
    for part, name in enumerate(("query", "key", "value")):
        rules += dense(
            f"{ours}/{name}",
            f"{block}.{attention}.query_key_value",
            "(heads part kv) embed -> embed heads kv",
            attention_bias,
            part=part,
            parts=3,
        )
    return rules
