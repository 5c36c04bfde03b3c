"""From a Hugging Face directory to a checkpoint of ours.

TARGET/checkpoints/0/   Orbax: the parameters, each in the type that its files have
TARGET/huggingface/     configuration, tokenizer, licence and model card, as they were
TARGET/model.gin        the model's configuration, to be included in a gin file
TARGET/import.json      what an export needs to give the files back: names, types, layout
"""

import collections
import dataclasses
import fnmatch
import json
from typing import Any

import numpy as np
from absl import logging
from etils import epath
from flax.core import meta
from jax.sharding import Mesh

from teacherlm_jax.checkpoints import params_only, restore
from teacherlm_jax.metrics.progress import Progress
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params, parameter_count, paths
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning.shardings import tree_shardings
from teacherlm_jax.weights import (
    accounting,
    catalogue,
    directory,
    load,
    model_gin,
    output,
    strict_json,
)
from teacherlm_jax.weights.family import Family
from teacherlm_jax.weights.tensors import WeightsError

CHECKPOINTS, ORIGINALS, MODEL_GIN, RECORD = "checkpoints", "huggingface", "model.gin", "import.json"

# What is kept of a directory beside its weights.
KEPT_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
    "licen[cs]e*",
    "notice*",
    "use_policy*",
    "readme.md",
)
_LARGEST_KEPT_BYTES = 64 * 1024**2
_MEGABYTE, _GIGABYTE = 10**6, 10**9


@dataclasses.dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
      family: model_type of the files.
      config: of the model.
      checkpoint_dir: the `checkpoints` folder.
      parameters: how many scalars.
      file_bytes: bytes of the tensors in the files.
      save_buffer_bytes: the most that saving holds beside the parameters.
    """

    family: str
    config: DecoderConfig
    checkpoint_dir: epath.Path
    parameters: int
    file_bytes: int
    save_buffer_bytes: int


@dataclasses.dataclass(frozen=True)
class _Source:
    path: epath.Path
    family: Family
    config: DecoderConfig
    matched: accounting.Matched


def import_model(
    source: epath.PathLike,
    target: epath.PathLike,
    mesh_config: mesh_lib.MeshConfig | None = None,
    *,
    scan_layers: bool = True,
) -> Imported:
    """Imports a checkpoint; every host of a run calls it and reads its own part.

    Args:
      source: a directory with config.json, weights (safetensors or torch's) and a tokenizer.
      target: a folder that is not there, or empty.
      mesh_config: sizes of the mesh axes over which the parameters are cut while they are in
        memory, or None for `load.default_mesh`; the checkpoint can be restored to any other.
      scan_layers: as the model that will read it; see `DecoderConfig`.

    Raises:
      WeightsError: files, names, shapes, types or configuration are not those of a whole model.
      ValueError: a dimension does not divide over the mesh.
    """
    path, folder = epath.Path(source), epath.Path(target)
    output.check_new(folder)
    found = hosts.on_every_host(f"checking {path}", lambda: _check(path, scan_layers))
    config, matched = found.config, found.matched
    mesh = mesh_lib.make_mesh(mesh_config) if mesh_config else load.default_mesh(config)
    boxed = boxed_params(Decoder(config))
    tree_shardings(boxed, mesh)  # Raises where a dimension does not divide.
    types = load.parameter_types(matched, config)
    total = sum(tensor.nbytes for tensor in {t.name: t for t in matched.tensors}.values())
    logging.info("%s: %s, %.2f GB in files.", path, found.family.architecture, total / _GIGABYTE)
    with output.new_folder(folder):
        size = _parameter_bytes(boxed, types)
        params = hosts.on_every_host(f"reading {path}", lambda: _load(matched, config, mesh, size))
        params_only.save(folder / CHECKPOINTS, params, _metadata(found, types))
        hosts.on_first_host(f"writing {folder}", lambda: _write_files(found, folder))
    return Imported(
        family=found.family.model_type,
        config=config,
        checkpoint_dir=folder / CHECKPOINTS,
        parameters=parameter_count(boxed),
        file_bytes=total,
        save_buffer_bytes=params_only.buffer_bytes(params),
    )


def _check(path: epath.Path, scan_layers: bool) -> _Source:
    """All that can be wrong with a directory, from configuration and headers."""
    output.check_finished(path)
    if (path / RECORD).is_file():
        raise WeightsError(
            f"{path} is an import already: give the directory that it was made from."
        )
    family, config = catalogue.read_config(path)
    config = dataclasses.replace(config, scan_layers=scan_layers)
    matched = accounting.match(directory.open_directory(path), family, config, path)
    return _Source(path, family, config, matched)


def _parameter_bytes(boxed: Any, types: dict[str, np.dtype]) -> int:
    leaves = paths(meta.unbox(boxed))
    return sum(leaf.size * types[path].itemsize for path, leaf in leaves.items())


def _load(matched: accounting.Matched, config: DecoderConfig, mesh: Mesh, total: int) -> Any:
    done = 0
    with Progress("import", -(-total // _MEGABYTE), unit="megabyte") as bar:

        def progress(size: int) -> None:
            nonlocal done
            done += size
            bar.update(-(-done // _MEGABYTE))

        return load.load_params(matched, config, mesh, progress)


def _metadata(found: _Source, types: dict[str, np.dtype]) -> dict[str, Any]:
    return {
        "model": dataclasses.asdict(found.config),
        restore.PARAMETER_TYPES: {path: dtype.name for path, dtype in types.items()},
        "imported": {"family": found.family.model_type, "source": str(found.path)},
    }


def _write_files(found: _Source, folder: epath.Path) -> None:
    """The small files; import.json last."""
    originals = folder / ORIGINALS
    originals.mkdir(parents=True, exist_ok=True)
    for path in kept_files(found.path):
        (originals / path.name).write_bytes(path.read_bytes())
    header = (
        f"{found.family.architecture}, imported from {found.path}.\n"
        "Include it in a gin file in place of a size file of models/."
    )
    (folder / MODEL_GIN).write_text(model_gin.gin_text(found.config, header), encoding="utf-8")
    text = json.dumps(record(found.matched, found.family), indent=2) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")


def kept_files(path: epath.Path) -> list[epath.Path]:
    """Files of a directory that tell of a model and are no weights, by name."""
    return sorted(
        (
            file
            for file in path.iterdir()
            if file.is_file()
            and any(fnmatch.fnmatchcase(file.name.lower(), pattern) for pattern in KEPT_FILES)
            and file.stat().length <= _LARGEST_KEPT_BYTES
        ),
        key=lambda file: file.name,
    )


def record(matched: accounting.Matched, family: Family) -> dict[str, Any]:
    """What an export needs to give the same tensors back: JSON values."""
    types = {tensor.name: tensor.dtype.name for tensor in matched.tensors}
    usual = collections.Counter(types.values()).most_common(1)[0][0]
    return {
        "family": family.model_type,
        "has_prefix": matched.has_prefix,
        "tied_head": matched.tied_head,
        "buffers_left_out": list(matched.buffers),
        "dtype": usual,
        "other_dtypes": {name: dtype for name, dtype in types.items() if dtype != usual},
    }


def record_of(path: epath.Path) -> dict[str, Any]:
    """The record that an import of a directory would make, from its headers.

    Raises:
      WeightsError: as `import_model`.
    """
    found = _check(path, scan_layers=True)
    return record(found.matched, found.family)


def checkpoint_dir(folder: epath.Path) -> epath.Path:
    """The `checkpoints` folder of an import; any other folder is taken for one."""
    inner = folder / CHECKPOINTS
    return inner if inner.is_dir() else folder


def read_record(folder: epath.Path) -> dict[str, Any]:
    """The record of an import.

    Raises:
      WeightsError: the folder was not written by an import, or not to its end.
    """
    output.check_finished(folder)
    path = folder / RECORD
    if not path.is_file():
        raise WeightsError(f"{folder} has no {RECORD}: it was not made by an import.")
    values = strict_json.parse_object(path.read_bytes(), str(path))
    types = [values.get("dtype"), *dict(values.get("other_dtypes") or {}).values()]
    names = {dtype.name for dtype in accounting.PARAMETER_TYPES}
    is_sound = all(isinstance(name, str) and name in names for name in types)
    is_sound &= isinstance(values.get("has_prefix"), bool)
    if not is_sound or not isinstance(values.get("tied_head", 0), str | None):
        raise WeightsError(f"{path} is damaged: import the checkpoint again.")
    return values
