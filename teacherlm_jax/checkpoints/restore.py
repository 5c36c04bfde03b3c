"""Reading a trained model back, for the next stage, for annotation and for evaluation."""

import dataclasses
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.models.config import DecoderConfig, explicit, from_dict
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params, path_name
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.partitioning import shardings

Tree = Any

# Of a checkpoint's metadata: path -> type, where parameters are not all of the model's.
PARAMETER_TYPES = "parameter_types"
# Of a checkpoint's metadata: what names the vocabulary that it was trained with.
VOCABULARY = "vocabulary"

# Types and memory may change from run to run; shapes and functions may not.
_FREE = frozenset({"dtype", "param_dtype", "remat_policy", "dropout_rate", "embedding_init_scale"})


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A checkpoint, read.

    Attributes:
      params: on the mesh; with a leading axis where replicas were trained together.
      replicas: number of replicas, None for a single run.
      step: updates it had seen.
      path: where it was.
    """

    params: Tree
    replicas: int | None
    step: int
    path: epath.Path

    def replica(self, index: int) -> Tree:
        """The parameters of one replica."""
        if self.replicas is None:
            raise ValueError(f"{self.path} holds one model, no replicas; leave the replica away.")
        if not 0 <= index < self.replicas:
            raise ValueError(f"{self.path} holds replicas 0 to {self.replicas - 1}, no {index}.")
        return jax.tree.map(lambda leaf: leaf[index], self.params)


def saved_model(checkpoint_dir: epath.PathLike) -> DecoderConfig:
    """The model that the newest checkpoint in a `checkpoints` folder is of; reads no parameters.

    Raises:
      FileNotFoundError: there is none.
      manager.CheckpointError: its metadata is damaged.
    """
    checkpoints, step = manager.latest(checkpoint_dir)
    with checkpoints:
        return _model_of(checkpoints.directory / str(step), checkpoints.metadata(step))


def saved_vocabulary(checkpoint_dir: epath.PathLike) -> dict[str, Any] | None:
    """What names the vocabulary of the newest checkpoint in a `checkpoints` folder, if it is kept.

    Raises:
      FileNotFoundError: there is no checkpoint.
      manager.CheckpointError: its metadata is damaged.
    """
    checkpoints, step = manager.latest(checkpoint_dir)
    with checkpoints:
        found = checkpoints.metadata(step).get(VOCABULARY)
    is_name = isinstance(found, dict) and isinstance(found.get("tokens"), dict)
    return found if is_name else None


def load(
    checkpoint_dir: epath.PathLike,
    model: DecoderConfig,
    mesh: Mesh,
    rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES,
) -> LoadedModel:
    """Parameters of the newest checkpoint in a `checkpoints` folder, placed on a mesh.

    Args:
      checkpoint_dir: the folder that holds the step folders.
      model: the model that it should be.
      mesh: devices.
      rules: from logical axes to mesh axes.

    Raises:
      FileNotFoundError: there is none.
      manager.CheckpointError: it is damaged, or of another model.
    """
    loaded = load_as_saved(checkpoint_dir, model, mesh, rules)
    params = jax.tree.map(lambda leaf: leaf.astype(model.parameter_dtype), loaded.params)
    return dataclasses.replace(loaded, params=params)


def load_as_saved(
    checkpoint_dir: epath.PathLike,
    model: DecoderConfig,
    mesh: Mesh,
    rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES,
) -> LoadedModel:
    """As `load`, each parameter in the type that it was saved in."""
    checkpoints, step = manager.latest(checkpoint_dir)
    with checkpoints:
        metadata = _metadata(checkpoints, step, model)
        replicas = metadata.get("replicas")
        abstract = shardings.placed(
            boxed_params(Decoder(model)),
            mesh,
            replicas,
            rules=rules,
            # Runs that are read may be put on a mesh which they do not divide over.
            cut_replicas=not replicas or replicas % mesh.devices.size == 0,
        )
        params = checkpoints.restore_params(step, _with_saved_types(abstract, metadata))
    return LoadedModel(params, replicas, step, checkpoints.directory / str(step))


def _with_saved_types(abstract: Tree, metadata: dict[str, Any]) -> Tree:
    """Read as it was saved, for the fingerprints: all of one type, or each of its own."""
    types = metadata.get(PARAMETER_TYPES, {})

    def one(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        name = types.get(path_name(path), metadata["model"]["param_dtype"])
        return jax.ShapeDtypeStruct(leaf.shape, name, sharding=leaf.sharding)

    return jax.tree_util.tree_map_with_path(one, abstract)


def check(checkpoint_dir: epath.PathLike, model: DecoderConfig) -> None:
    """Checks that a stage can start from a checkpoint, without reading its parameters.

    Raises:
      FileNotFoundError: there is none.
      manager.CheckpointError: its metadata is damaged, or it is of another model.
      ValueError: it holds replicas.
    """
    found = replicas(checkpoint_dir, model)
    if found is not None:
        raise ValueError(
            f"{checkpoint_dir} holds {found} replicas, but a stage starts from one model; give a "
            "folder of one."
        )


def replicas(checkpoint_dir: epath.PathLike, model: DecoderConfig) -> int | None:
    """How many replicas the newest checkpoint holds; None: a single run. Reads no parameters.

    Raises:
      FileNotFoundError: there is none.
      manager.CheckpointError: its metadata is damaged, or it is of another model.
    """
    checkpoints, step = manager.latest(checkpoint_dir)
    with checkpoints:
        found: int | None = _metadata(checkpoints, step, model).get("replicas")
    return found


def _metadata(checkpoints: manager.Checkpoints, step: int, model: DecoderConfig) -> dict[str, Any]:
    metadata = checkpoints.metadata(step)
    path = checkpoints.directory / str(step)
    _check_model(path, _model_of(path, metadata), model)
    return metadata


def _model_of(path: epath.Path, metadata: dict[str, Any]) -> DecoderConfig:
    try:
        return from_dict(metadata.get("model", {}))
    except (TypeError, ValueError) as error:
        raise manager.CheckpointError(
            f"checkpoint {path} does not say what its model is ({error}); give another."
        ) from error


def _check_model(path: epath.Path, saved: DecoderConfig, model: DecoderConfig) -> None:
    found, wanted = (dataclasses.asdict(explicit(one)) for one in (saved, model))
    different = [
        f"{name} {found[name]!r} (asked: {value!r})"
        for name, value in wanted.items()
        if name not in _FREE and found[name] != value
    ]
    if different:
        raise manager.CheckpointError(
            f"checkpoint {path} is of another model: {', '.join(different)}. Use the size file "
            "that it was trained with."
        )
