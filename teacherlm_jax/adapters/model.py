"""A checkpoint of ours, or a Hugging Face directory, opened for another program to ask."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from etils import epath
from jax.sharding import Mesh

from teacherlm_jax.adapters import text_tokens
from teacherlm_jax.checkpoints import restore
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.weights import any_checkpoint, importing

# What lm-evaluation-harness takes where nothing says how long a text may be.
DEFAULT_MAX_LENGTH = 2048
DEFAULT_BATCH_SIZE = 64

_LENGTHS = ("n_positions", "max_position_embeddings", "n_ctx")
# What tokenizers say that have no limit is larger.
_LARGEST_LENGTH = 10**9


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A model that is ready to run.

    Attributes:
      config: of the decoder.
      loaded: where the parameters came from.
      params: on the mesh.
      mesh: devices.
      tokens: the tokenizer.
    """

    config: DecoderConfig
    loaded: restore.LoadedModel
    params: Any
    mesh: Mesh
    tokens: text_tokens.TextTokens


def open_model(
    checkpoint: epath.PathLike,
    tokens: text_tokens.TextTokens,
    *,
    mesh: mesh_lib.MeshConfig,
    dtype: str | None = None,
    replica: int | None = None,
) -> OpenedModel:
    """Reads a checkpoint onto devices.

    Args:
      checkpoint: the folder of an import, a `checkpoints` folder, whose newest checkpoint is taken,
        or a Hugging Face directory.
      tokens: its tokenizer.
      mesh: sizes of the mesh axes; models that were trained together run on one device.
      dtype: of computation and parameters; None: as the checkpoint says.
      replica: which of models that were trained together.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: it is damaged, holds several models and none is chosen, or fits neither mesh nor
        tokenizer.
    """
    hosts.check_alone("lm-eval")
    path = importing.checkpoint_dir(epath.Path(checkpoint))
    config = any_checkpoint.saved_model(path)
    if dtype is not None:
        config = dataclasses.replace(config, dtype=dtype, param_dtype=dtype)
    if tokens.vocab_size > config.vocab_size:
        raise ValueError(
            f"{path} has a vocabulary of {config.vocab_size}, but the tokenizer of {tokens.name} "
            f"has {tokens.vocab_size} tokens: give the one that the model was trained with."
        )
    replicas = None
    if not any_checkpoint.is_hugging_face(path):
        replicas = restore.replicas(path, config)
    if replicas is not None and replica is None:
        raise ValueError(f"{path} holds {replicas} models: choose one, replica=0 for instance.")
    made = mesh_lib.make_mesh(mesh if replicas is None else mesh_lib.MeshConfig(device_count=1))
    loaded = any_checkpoint.load_model(path, config, made)
    params = loaded.params if replica is None else loaded.replica(replica)
    return OpenedModel(config, loaded, params, made, tokens)


def tokens_of(
    checkpoint: str, tokenizer: str | None, vocabulary_of: str | None
) -> text_tokens.TextTokens:
    """The tokenizer of a checkpoint; see `text_tokens`.

    Raises:
      ValueError: there is none beside the checkpoint and none is named, or two are.
    """
    if tokenizer is not None and vocabulary_of is not None:
        raise ValueError("tokenizer and vocabulary_of are both given: leave one of them out.")
    if vocabulary_of is not None:
        return text_tokens.of_task(vocabulary_of)
    if tokenizer is not None:
        return text_tokens.FolderTokens(tokenizer)
    return text_tokens.of_checkpoint(checkpoint)


def bos_of(tokens: text_tokens.TextTokens, asked: bool | None) -> int | None:
    """What stands before every context; asked None: as the model's files say; None: nothing.

    Raises:
      ValueError: it is asked for, and there is no BOS.
    """
    if not (tokens.adds_bos if asked is None else asked):
        return None
    if tokens.bos_id is None:
        raise ValueError(
            f"add_bos_token = {asked}, but the tokenizer of {tokens.name} has no BOS: leave it out."
        )
    return tokens.bos_id


def prefix_of(tokens: text_tokens.TextTokens, asked: int | None) -> int:
    """What stands for an empty context: as asked, else BOS, else EOS.

    Raises:
      ValueError: there is no such token.
    """
    if asked is not None and not (isinstance(asked, int) and 0 <= asked < tokens.vocab_size):
        raise ValueError(
            f"prefix_token_id = {asked!r}, but it must be a token of {tokens.name}: at least"
            f" 0 and below {tokens.vocab_size}."
        )
    for token in (asked, tokens.bos_id, tokens.eos_id):
        if token is not None:
            return token
    raise ValueError(
        f"the tokenizer of {tokens.name} has neither BOS nor EOS, so nothing can stand for an "
        "empty context: give prefix_token_id."
    )


def batch_size_of(asked: int | str | None, mesh: Mesh) -> int:
    """Rows that run together: as asked, rounded up to what divides over the mesh.

    Raises:
      ValueError: it is no whole number above 0, nor "auto".
    """
    shards = mesh_lib.batch_shards(mesh)
    text = str(asked)
    if asked is None or text.startswith("auto"):
        size = DEFAULT_BATCH_SIZE
    elif text.isascii() and text.isdecimal() and int(text) > 0:
        size = int(text)
    else:
        raise ValueError(f"batch_size = {asked!r}, but it must be at least 1, or auto.")
    return -(-size // shards) * shards


def max_length_of(asked: int | None, config: DecoderConfig, folder: epath.PathLike) -> int:
    """Most tokens that the model is fed at once: as asked, or as the model's files say.

    Args:
      asked: None: as the files say, in the order in which lm-evaluation-harness looks.
      config: of the model.
      folder: of the tokenizer, with config.json and tokenizer_config.json where it is public.

    Raises:
      ValueError: it is no whole number above 0, or the model has fewer positions.
    """
    length = check_whole("max_length", asked)
    if length is None:
        values = _json(epath.Path(folder) / "config.json")
        length = _first(values, _LENGTHS) or (config.max_positions or None)
    if length is None:
        values = _json(epath.Path(folder) / "tokenizer_config.json")
        length = _first(values, ("model_max_length",)) or DEFAULT_MAX_LENGTH
    if length < 1:
        raise ValueError(f"max_length = {length}, but the model must be fed at least 1 token.")
    config.check_row_length(length, "max_length")
    return length


def check_whole(name: str, asked: object) -> int | None:
    """What another program gives as a number, which is a text where it cannot be read as one.

    Raises:
      ValueError: it is neither a whole number nor None.
    """
    if asked is None or (isinstance(asked, int) and not isinstance(asked, bool)):
        return asked
    raise ValueError(f"{name} = {asked!r}, but it must be a whole number.")


def _json(path: epath.Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _first(values: dict[str, Any], names: Sequence[str]) -> int | None:
    found = (values.get(name) for name in names)
    return next((int(n) for n in found if n is not None and n < _LARGEST_LENGTH), None)
