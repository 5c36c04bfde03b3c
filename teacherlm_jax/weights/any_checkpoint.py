"""A checkpoint, ours or Hugging Face's: what it is, and its parameters on a mesh."""

from __future__ import annotations

from etils import epath
from jax.sharding import Mesh

from teacherlm_jax.checkpoints import manager, restore
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.weights import accounting, catalogue, directory, load


def is_hugging_face(path: epath.PathLike) -> bool:
    """Whether a folder holds a public checkpoint, not ours."""
    return (epath.Path(path) / "config.json").exists()


def saved_model(path: epath.PathLike) -> DecoderConfig:
    """The configuration of a checkpoint, ours or Hugging Face's; reads no parameters.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is damaged, or of a family that is not known.
    """
    if is_hugging_face(path):
        return catalogue.read_config(epath.Path(path))[1]
    return restore.saved_model(path)


def folder_of(path: epath.PathLike) -> epath.Path:
    """The folder that a checkpoint is told by: of its run's steps, or Hugging Face's own.

    Raises:
      FileNotFoundError: there is none.
    """
    if is_hugging_face(path):
        return manager.absolute(path)
    checkpoints, _ = manager.latest(path)
    with checkpoints:
        return checkpoints.directory


def load_model(path: epath.PathLike, model: DecoderConfig, mesh: Mesh) -> restore.LoadedModel:
    """The parameters of a checkpoint, ours or Hugging Face's, on a mesh.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is damaged, or of another model.
    """
    if not is_hugging_face(path):
        return restore.load(path, model, mesh)
    folder = epath.Path(path)
    family, found = catalogue.read_config(folder)
    different = catalogue.unlike(found, model)
    if different:
        raise ValueError(
            f"{folder} is of another model than the configuration: they differ in "
            f"{', '.join(different)}. Leave the model out, so that its config.json counts."
        )
    matched = accounting.match(directory.open_directory(folder), family, model, folder)
    params = load.load_params(matched, model, mesh)
    return restore.LoadedModel(params, None, 0, folder)
