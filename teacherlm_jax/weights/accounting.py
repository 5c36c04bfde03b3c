"""Every tensor of a checkpoint against every parameter of a model: none missing, none left over."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import ml_dtypes
import numpy as np
from etils import epath

from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.weights import rules as rules_lib
from teacherlm_jax.weights.family import Family
from teacherlm_jax.weights.rules import Rule
from teacherlm_jax.weights.tensors import LazyTensor, WeightsError

PARAMETER_TYPES = tuple(np.dtype(t) for t in (np.float32, np.float16, ml_dtypes.bfloat16))

# How many names an error lists.
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Matched:
    """A checkpoint whose tensors are those of a model.

    Attributes:
      sources: path of our parameter, "layers/..." once for all blocks -> its rule, and the tensor
        of each block (or the only one).
      has_prefix: whether the files have the prefix.
      tied_head: name of an output projection that repeats the tied embedding; None: there is none.
      buffers: names of tensors that are no parameters.
    """

    sources: Mapping[str, tuple[Rule, tuple[LazyTensor, ...]]]
    has_prefix: bool
    tied_head: str | None
    buffers: tuple[str, ...]

    @property
    def tensors(self) -> Iterator[LazyTensor]:
        """Every parameter's tensor; fused ones once for each part."""
        for _, tensors in self.sources.values():
            yield from tensors


def expanded(rules: Sequence[Rule], num_layers: int) -> Iterator[tuple[str, int, Rule]]:
    """(name without prefix, block, rule) of every parameter; block 0 outside of the blocks."""
    for rule in rules:
        for layer in range(num_layers if rule.is_layered else 1):
            yield rule.theirs.format(layer=layer), layer, rule


def match(
    tensors: Mapping[str, LazyTensor], family: Family, config: DecoderConfig, where: epath.Path
) -> Matched:
    """Finds the tensor of every parameter; reads the head of a tied model, and nothing else.

    Args:
      tensors: of `directory.open_directory`.
      family: whose names they have.
      config: of the model.
      where: names the checkpoint in errors.

    Raises:
      WeightsError: a tensor is missing, unknown, doubly named, of another shape, or of a type that
        parameters cannot have.
    """
    if config.num_layers > len(tensors):
        raise WeightsError(
            f"{where} has {len(tensors)} tensors, but config.json speaks of {config.num_layers} "
            "layers: configuration and weights are not of the same model."
        )
    bare = _without_prefix(tensors, family)
    rules = family.rules(config)
    sizes = rules_lib.axis_sizes(config)
    expected = {
        name: rule.their_shape(sizes) for name, _, rule in expanded(rules, config.num_layers)
    }
    tied_head, embedding = _tied_head(bare, family, config)
    buffers = [name for name in bare.keys() - expected.keys() if _is_buffer(name, family)]
    extra = {tied_head, *buffers}
    missing = [name for name in expected if name not in bare]
    unknown = sorted(name for name in bare.keys() - expected.keys() if name not in extra)
    if missing or unknown:
        raise WeightsError(_unmatched(missing, unknown, expected, bare, family, where))
    for name, shape in expected.items():
        _check_tensor(bare[name], shape)
    if tied_head is not None:
        _check_same(bare[tied_head], bare[embedding])
    names = [bare[name].name for name in expected]
    has_prefix = _has_prefix(names, _head_name(family, config), family)
    return Matched(
        sources={
            rule.ours: (
                rule,
                tuple(
                    bare[rule.theirs.format(layer=layer)]
                    for layer in range(config.num_layers if rule.is_layered else 1)
                ),
            )
            for rule in rules
        },
        has_prefix=has_prefix,
        tied_head=None if tied_head is None else bare[tied_head].name,
        buffers=tuple(sorted(bare[name].name for name in buffers)),
    )


def _without_prefix(tensors: Mapping[str, LazyTensor], family: Family) -> dict[str, LazyTensor]:
    """Tensors by their names without the base model's prefix."""
    found: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        bare = name.removeprefix(family.prefix)
        if bare in found:
            raise WeightsError(
                f"{tensor.file} holds {name!r}, and {found[bare].file} {found[bare].name!r}: the "
                "same tensor under two names; remove one of them."
            )
        found[bare] = tensor
    return found


def _has_prefix(names: Sequence[str], head: str, family: Family) -> bool:
    """Whether the base model's tensors have its prefix, all or none; a head's never has.

    Args:
      names: of all parameters' tensors, as the files have them.
      head: the output projection's name.
      family: whose prefix it is.
    """
    misnamed = f"{family.prefix}{head}"
    if misnamed in names:
        raise WeightsError(f"{misnamed} must be named {head}: it is not of the base model.")
    base = [name for name in names if name != head]
    bare = [name for name in base if not name.startswith(family.prefix)]
    if bare and len(bare) < len(base):
        prefixed = next(name for name in base if name.startswith(family.prefix))
        raise WeightsError(
            f"{prefixed} has the prefix {family.prefix!r}, but {bare[0]} has not: name all tensors "
            "with it, or all without."
        )
    return not bare


def _tied_head(
    bare: Mapping[str, LazyTensor], family: Family, config: DecoderConfig
) -> tuple[str | None, str]:
    """Name of an output projection that a tied model's files hold all the same, and the table's."""
    head = _head_name(family, config)
    by_path = {rule.ours: rule.theirs for rule in family.rules(config)}
    is_there = config.logits_via_embedding and head in bare
    return (head if is_there else None), by_path["token_embedder/embedding"]


def _head_name(family: Family, config: DecoderConfig) -> str:
    untied = dataclasses.replace(config, logits_via_embedding=False)
    return next(rule.theirs for rule in family.rules(untied) if rule.in_head)


def _is_buffer(name: str, family: Family) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in family.buffers)


def _check_tensor(tensor: LazyTensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise WeightsError(
            f"{tensor.file}: {tensor.name} has shape {list(tensor.shape)}, but config.json makes "
            f"it {list(shape)}: configuration and weights are not of the same model."
        )
    if tensor.dtype not in PARAMETER_TYPES:
        raise WeightsError(
            f"{tensor.file}: {tensor.name} holds {tensor.dtype.name}, but a parameter must hold "
            f"one of {[dtype.name for dtype in PARAMETER_TYPES]}: take a checkpoint that is not "
            "quantized."
        )


def _check_same(head: LazyTensor, embedding: LazyTensor) -> None:
    """Raises where the output projection of a tied model is not the embedding, bit for bit."""
    rows = embedding.shape[0]
    _check_tensor(head, tuple(embedding.shape))
    step = max(1, 2**24 // max(embedding.nbytes // rows, 1))
    for first in range(0, rows, step):
        box = [(first, min(first + step, rows)), (0, embedding.shape[1])]
        one, two = (tensor.read_box(tensor.shape, box) for tensor in (head, embedding))
        if one.dtype != two.dtype or one.tobytes() != two.tobytes():
            raise WeightsError(
                f"{head.file}: {head.name} is not equal to {embedding.name} in rows {box[0][0]} to "
                f"{box[0][1] - 1}, but config.json ties the two: set its tie_word_embeddings to "
                "false."
            )


def _unmatched(
    missing: Sequence[str],
    unknown: Sequence[str],
    expected: Mapping[str, tuple[int, ...]],
    bare: Mapping[str, LazyTensor],
    family: Family,
    where: epath.Path,
) -> str:
    found = {name: bare[name].shape for name in unknown}
    parts = [f"{where} is not a whole {family.architecture} of its config.json:"]
    if missing:
        parts.append(f"missing {_listed(missing, expected)};")
    if unknown:
        named = {bare[name].name: found[name] for name in unknown}
        parts.append(f"unknown {_listed(list(named), named)};")
    if any("head" in name or "embed_out" in name for name in (*missing, *unknown)):
        parts.append(
            "tie_word_embeddings in config.json says whether logits have their own tensor;"
        )
    parts.append("get the files again, or mend config.json.")
    return " ".join(parts)


def _listed(names: Sequence[str], shapes: Mapping[str, Iterable[int]]) -> str:
    shown = ", ".join(f"{name} {list(shapes[name])}" for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{len(names)}: {shown}" + (f" and {more} more" if more > 0 else "")
