"""From a checkpoint of ours to a directory that `transformers` loads.

Tensors are written one at a time in the type that they once came in. config.json comes last, so
that a directory without it was not finished.
"""

import collections
import dataclasses
import functools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from teacherlm_jax.checkpoints import restore
from teacherlm_jax.metrics.progress import Progress
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.parameters import paths
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.weights import catalogue, importing, load, model_card, output, safetensors_file
from teacherlm_jax.weights import rules as rules_lib
from teacherlm_jax.weights.accounting import PARAMETER_TYPES, expanded
from teacherlm_jax.weights.config_fields import FILE_NAME
from teacherlm_jax.weights.directory import SAFETENSORS
from teacherlm_jax.weights.family import Family
from teacherlm_jax.weights.rules import LAYERS, Rule
from teacherlm_jax.weights.tensors import WeightsError

TYPES = {dtype.name: dtype for dtype in PARAMETER_TYPES}

_INDEX = f"{SAFETENSORS}.index.json"


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """What is exported, and how.

    Attributes:
      source: the folder of an import, or a `checkpoints` folder.
      target: a folder that is not there, or empty.
      like: the folder of an import, or a Hugging Face directory, whose tokenizer, licence, names
        and types are taken over; by default `source` where that is an import.
      dtype: key of `TYPES` for all tensors; None: that of the import, else that of the checkpoint.
      license_file: its text goes beside the weights in place of the import's.
      license_id: for the model card, as "apache-2.0".
      replica: which one, where several models were trained together.
      shard_bytes: most bytes of a file of weights; one tensor may exceed it.
    """

    source: str
    target: str
    like: str | None = None
    dtype: str | None = None
    license_file: str | None = None
    license_id: str | None = None
    replica: int | None = None
    shard_bytes: int = 5 * 10**9


@dataclasses.dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
      folder: the directory.
      family: model_type of its config.json.
      tensors: how many.
      file_bytes: bytes of them all.
    """

    folder: epath.Path
    family: str
    tensors: int
    file_bytes: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A tensor to be written: its rules (several where it is fused), its block, its type."""

    name: str
    layer: int
    rules: tuple[Rule, ...]
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclasses.dataclass(frozen=True)
class _Plan:
    """An export, checked: the checkpoint, its model, and what is taken over from an import."""

    checkpoint_dir: epath.Path
    config: DecoderConfig
    family: Family
    originals: epath.Path | None
    record: Mapping[str, Any]
    dtype: np.dtype | None


def export_model(settings: ExportSettings, mesh: Mesh | None = None) -> Exported:
    """Exports a checkpoint; runs in one process.

    Args:
      settings: what, and how.
      mesh: where the parameters lie while they are written; None: `load.default_mesh`.

    Raises:
      WeightsError: no family has models of this shape, the checkpoint and `like` differ, or the
        target is not empty.
      FileNotFoundError: there is no checkpoint.
      manager.CheckpointError: it is damaged.
    """
    hosts.check_alone("an export")
    folder = epath.Path(settings.target)
    output.check_new(folder)
    plan = _plan(settings)
    with output.new_folder(folder):
        return _export(settings, plan, folder, mesh or load.default_mesh(plan.config))


def _export(settings: ExportSettings, plan: _Plan, folder: epath.Path, mesh: Mesh) -> Exported:
    loaded = restore.load_as_saved(plan.checkpoint_dir, plan.config, mesh)
    params = loaded.params
    if loaded.replicas is not None and settings.replica is None:
        raise WeightsError(
            f"{loaded.path} holds {loaded.replicas} models that were trained together: say which "
            f"by a replica from 0 to {loaded.replicas - 1}."
        )
    if settings.replica is not None:
        params = loaded.replica(settings.replica)
    tensors = list(_tensors(plan, paths(params)))
    total = sum(map(_size, tensors))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    usual = collections.Counter(tensor.dtype.name for tensor in tensors).most_common(1)[0][0]
    try:
        _write_weights(tensors, paths(params), plan.config, folder, settings.shard_bytes)
        _write_texts(settings, plan, folder, count, usual)
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be written to ({error}): it needs {total:,} bytes; make room or mend "
            "the access there, and run the same command again."
        ) from error
    return Exported(folder, plan.family.model_type, len(tensors), total)


def _plan(settings: ExportSettings) -> _Plan:
    source = epath.Path(settings.source)
    for folder in (source, source.parent):
        output.check_finished(folder)
    if (source / FILE_NAME).is_file():
        raise WeightsError(f"{source} is a Hugging Face directory: there is nothing to export.")
    checkpoint_dir = importing.checkpoint_dir(source)
    config = restore.saved_model(checkpoint_dir)
    _check_outside(settings.target, checkpoint_dir)
    if settings.dtype is not None and settings.dtype not in TYPES:
        raise WeightsError(f"dtype = {settings.dtype!r}, but it must be one of {sorted(TYPES)}.")
    if settings.license_file is not None:
        _read_license(settings.license_file)
    dtype = None if settings.dtype is None else TYPES[settings.dtype]
    like = settings.like
    for folder in (source, source.parent):  # Of an import the folder, or its `checkpoints`.
        if like is None and (folder / importing.RECORD).is_file():
            like = str(folder)
    if like is None:
        return _Plan(checkpoint_dir, config, catalogue.family_of(config), None, {}, dtype)
    originals, record = _like(epath.Path(like))
    family, theirs = catalogue.read_config(originals)
    if catalogue.resolved(theirs) != catalogue.resolved(config):
        differs = ", ".join(catalogue.unlike(theirs, config))
        raise WeightsError(
            f"{like} is of another model than {checkpoint_dir} ({differs} differ): name the import "
            "that the training began from, or leave it away."
        )
    return _Plan(checkpoint_dir, config, family, originals, record, dtype)


def _check_outside(target: str, checkpoint_dir: epath.Path) -> None:
    """Raises where an export would stand among the checkpoints, as one of them."""
    inner, outer = (os.path.abspath(os.fspath(path)) for path in (target, checkpoint_dir))
    if f"{inner}/".startswith(f"{outer}/"):
        raise WeightsError(f"{target} lies in {checkpoint_dir}: give a folder outside.")


def _like(like: epath.Path) -> tuple[epath.Path, Mapping[str, Any]]:
    """The folder of the original files, and what is known of names and types."""
    if (like / importing.ORIGINALS).is_dir():
        return like / importing.ORIGINALS, importing.read_record(like)
    output.check_finished(like)
    return like, importing.record_of(like)


def _tensors(plan: _Plan, leaves: Mapping[str, jax.Array]) -> Iterator[_Tensor]:
    """Every tensor of the family, with the type that it is written in."""
    sizes = rules_lib.axis_sizes(plan.config)
    grouped: dict[str, list[tuple[int, Rule]]] = {}
    for bare, layer, rule in expanded(plan.family.rules(plan.config), plan.config.num_layers):
        is_bare = rule.in_head or not plan.record.get("has_prefix", True)
        name = bare if is_bare else plan.family.prefix + bare
        grouped.setdefault(name, []).append((layer, rule))
    tied_head, table = plan.record.get("tied_head"), None
    if tied_head:
        table = next(
            name
            for name, rules in grouped.items()
            if rules[0][1].ours == "token_embedder/embedding"
        )
        grouped[tied_head] = grouped[table]
    for name, found in grouped.items():
        layer, rules = found[0][0], tuple(rule for _, rule in found)
        path, _ = _place(rules[0], layer, leaves)
        recorded = _recorded_type(plan.record, table if name == tied_head else name)
        dtype = plan.dtype or recorded or np.dtype(leaves[path].dtype)
        yield _Tensor(name, layer, rules, rules[0].their_shape(sizes), dtype)


def _recorded_type(record: Mapping[str, Any], name: str | None) -> np.dtype | None:
    if not record:
        return None
    return TYPES[record["other_dtypes"].get(name, record["dtype"])]


def _place(rule: Rule, layer: int, leaves: Mapping[str, jax.Array]) -> tuple[str, int | None]:
    """Path of a rule's parameter, and the index on its layer axis where it has one."""
    if rule.ours in leaves:
        return rule.ours, layer if rule.is_layered else None
    return rule.ours.replace(LAYERS, f"{LAYERS}_{layer}", 1), None


def _assemble(
    tensor: _Tensor, leaves: Mapping[str, jax.Array], sizes: Mapping[str, int]
) -> np.ndarray:
    """A tensor of theirs from its parameters of ours, cast on the host as NumPy rounds."""
    out = np.empty(tensor.rules[0].view_shape(sizes), tensor.dtype)
    for rule in tensor.rules:
        path, layer = _place(rule, tensor.layer, leaves)
        values = leaves[path] if layer is None else leaves[path][layer]
        rule.write(_cast(_on_host(values), tensor), out)
    return out.reshape(tensor.shape)


def _on_host(array: jax.Array) -> np.ndarray:
    """A host's copy that the array does not keep, as it would what `np.asarray` makes of it."""
    out = np.empty(array.shape, array.dtype)
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            out[shard.index] = np.asarray(shard.data)
    return out


def _cast(values: np.ndarray, tensor: _Tensor) -> np.ndarray:
    """The values in the tensor's type.

    Raises:
      WeightsError: some are too large for it.
    """
    if values.dtype == tensor.dtype:
        return values
    with np.errstate(over="ignore"):
        cast = values.astype(tensor.dtype)
    if not np.array_equal(np.isfinite(cast), np.isfinite(values)):
        raise WeightsError(
            f"{tensor.name} has values up to {np.abs(values).max():.3g}, but {tensor.dtype.name} "
            "holds none so large: export with --dtype=bfloat16 or --dtype=float32."
        )
    return cast


def _size(tensor: _Tensor) -> int:
    return math.prod(tensor.shape) * tensor.dtype.itemsize


def _shards(tensors: Sequence[_Tensor], shard_bytes: int) -> list[list[_Tensor]]:
    shards: list[list[_Tensor]] = [[]]
    used = 0
    for tensor in tensors:
        if shards[-1] and used + _size(tensor) > shard_bytes:
            shards.append([])
            used = 0
        shards[-1].append(tensor)
        used += _size(tensor)
    return shards


def _file_name(number: int, count: int) -> str:
    """Name of a file of weights, as transformers looks for it."""
    stem, _, suffix = SAFETENSORS.rpartition(".")
    return SAFETENSORS if count == 1 else f"{stem}-{number:05}-of-{count:05}.{suffix}"


def _write_weights(
    tensors: Sequence[_Tensor],
    leaves: Mapping[str, jax.Array],
    config: DecoderConfig,
    folder: epath.Path,
    shard_bytes: int,
) -> None:
    sizes = rules_lib.axis_sizes(config)
    shards = _shards(tensors, shard_bytes)
    by_name = {tensor.name: tensor for tensor in tensors}
    weight_map: dict[str, str] = {}
    done = 0
    with Progress("export", len(tensors), unit="tensor") as bar:

        def read(name: str) -> np.ndarray:
            nonlocal done
            done += 1
            bar.update(done)
            return _assemble(by_name[name], leaves, sizes)

        for number, shard in enumerate(shards, 1):
            file = _file_name(number, len(shards))
            entries = [(tensor.name, tensor.dtype, tensor.shape) for tensor in shard]
            safetensors_file.write(folder / file, entries, read)
            weight_map.update(dict.fromkeys((tensor.name for tensor in shard), file))
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(map(_size, tensors))},
            "weight_map": dict(sorted(weight_map.items())),
        }
        (folder / _INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _write_texts(
    settings: ExportSettings, plan: _Plan, folder: epath.Path, parameters: int, usual: str
) -> None:
    """Tokenizer, licence and model card; config.json last."""
    config = {
        "architectures": [plan.family.architecture],
        "model_type": plan.family.model_type,
        **plan.family.write_config(plan.config),
    }
    kept = [] if plan.originals is None else importing.kept_files(plan.originals)
    contents: dict[str, Callable[[], bytes]] = {path.name: path.read_bytes for path in kept}
    if FILE_NAME in contents:
        config = json.loads(contents.pop(FILE_NAME)())
    cards = [name for name in contents if name.lower() == "readme.md"]
    source_card = b"\n".join([contents.pop(name)() for name in cards])
    types = [name for name in ("dtype", "torch_dtype") if name in config] or ["torch_dtype"]
    config.update(dict.fromkeys(types, usual))
    card = model_card.Card(
        family=plan.family.model_type,
        architecture=plan.family.architecture,
        parameters=parameters,
        dtype=usual,
        source_card=source_card.decode("utf-8", errors="replace"),
        license_id=settings.license_id,
    )
    if settings.license_file is not None:
        contents = {name: read for name, read in contents.items() if not _is_license(name)}
        contents["LICENSE"] = functools.partial(_read_license, settings.license_file)
    if not any(map(_is_license, contents)):
        contents["LICENSE"] = functools.partial(str.encode, model_card.unknown_license(card))
    contents["README.md"] = functools.partial(str.encode, model_card.text(card))
    for name, read in contents.items():
        (folder / name).write_bytes(read())
    (folder / FILE_NAME).write_text(json.dumps(config, indent=2) + "\n")


def _is_license(name: str) -> bool:
    return name.upper().startswith(("LICENSE", "LICENCE"))


def _read_license(path: str) -> bytes:
    try:
        return epath.Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"license_file = {path!r} cannot be read ({error}).") from error
