"""Logits of a converted model beside those of `transformers`, which this alone needs, and torch."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh

from teacherlm_jax.checkpoints import restore
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning import hosts
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.weights import catalogue, importing, load, output
from teacherlm_jax.weights.tensors import WeightsError

SHORT, LONG = 8, 500
_SEED = 0


@dataclasses.dataclass(frozen=True)
class Difference:
    """One comparison.

    Attributes:
      name: of the prompts.
      tokens: how many there were.
      largest: the largest absolute difference of two logits, over all rows of the vocabulary.
      spread: standard deviation of the logits, which says what a difference means.
      agreement: share of positions where both have the same most likely token.
    """

    name: str
    tokens: int
    largest: float
    spread: float
    agreement: float


@dataclasses.dataclass(frozen=True)
class _Prompts:
    name: str
    tokens_BT: np.ndarray
    is_real_BT: np.ndarray


def compare(
    theirs: epath.PathLike, ours: epath.PathLike, mesh: Mesh | None = None
) -> list[Difference]:
    """Compares a Hugging Face directory with a checkpoint of ours, in float32.

    Args:
      theirs: the directory.
      ours: the folder of an import, or a `checkpoints` folder.
      mesh: where our parameters lie; None: `load.default_mesh`.

    Raises:
      WeightsError: transformers or torch is not there, or the two are of different models.
      FileNotFoundError: there is no checkpoint.
    """
    hosts.check_alone("a comparison")
    directory, folder = epath.Path(theirs), epath.Path(ours)
    output.check_finished(directory)
    output.check_finished(folder)
    folder = importing.checkpoint_dir(folder)
    config = restore.saved_model(folder)
    _, their_config = catalogue.read_config(directory)
    different = catalogue.unlike(their_config, config)
    if different:
        raise WeightsError(
            f"{directory} and {folder} are not of the same model: they differ in "
            f"{', '.join(different)}."
        )
    transformers, torch = _libraries()
    reference = transformers.AutoModelForCausalLM.from_pretrained(
        str(directory), dtype=torch.float32, local_files_only=True
    ).eval()
    mesh = mesh or load.default_mesh(config)
    params = restore.load(folder, config, mesh).params
    forward = _forward(config, params, mesh)
    found = []
    for prompts in _prompts(config):
        with torch.no_grad():
            expected = reference(
                torch.from_numpy(prompts.tokens_BT),
                attention_mask=torch.from_numpy(prompts.is_real_BT.astype(np.int64)),
            ).logits.numpy()
        found.append(_difference(prompts, forward(prompts), expected))
    return found


def _libraries() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise WeightsError(
            f"{error.name} is not installed: comparing needs transformers and torch, which the "
            "extra teacherlm_jax[test] brings. Import and export need neither."
        ) from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers, torch


def _prompts(config: DecoderConfig) -> list[_Prompts]:
    """Random tokens: short, long (where mistakes about positions show), padded on either side."""
    rng = np.random.default_rng(_SEED)
    longest = LONG if config.max_positions is None else min(LONG, config.max_positions)
    short = min(SHORT, longest)

    def draw(rows: int, length: int) -> np.ndarray:
        return rng.integers(0, config.vocab_size, (rows, length))

    lengths_B1 = np.array([[short], [max(1, short // 2)], [1]])
    is_right_BT = np.arange(short) < lengths_B1
    return [
        _Prompts("short", draw(2, short), np.ones((2, short), bool)),
        _Prompts("long", draw(1, longest), np.ones((1, longest), bool)),
        _Prompts("padded right", draw(3, short), is_right_BT),
        _Prompts("padded left", draw(3, short), is_right_BT[:, ::-1].copy()),
    ]


def _forward(config: DecoderConfig, params: Any, mesh: Mesh) -> Any:
    model = Decoder(dataclasses.replace(config, dtype="float32", remat_policy="none"))

    @jax.jit
    def logits(params: Any, tokens_BT: Any, segment_ids_BT: Any, positions_BT: Any) -> jax.Array:
        return model.apply(
            {"params": params},
            tokens_BT,
            decoder_segment_ids=segment_ids_BT,
            decoder_positions=positions_BT,
            enable_dropout=False,
        )

    def run(prompts: _Prompts) -> np.ndarray:
        segment_ids_BT = prompts.is_real_BT.astype(np.int32)
        positions_BT = np.maximum(np.cumsum(segment_ids_BT, axis=1) - 1, 0)
        # Left to itself, an accelerator multiplies float32 with fewer bits than that.
        with rules_lib.activate(mesh), jax.default_matmul_precision("highest"):
            found = logits(
                jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params),
                prompts.tokens_BT.astype(np.int32),
                segment_ids_BT,
                positions_BT.astype(np.int32),
            )
        return np.asarray(found)

    return run


def _difference(prompts: _Prompts, found: np.ndarray, expected: np.ndarray) -> Difference:
    real_found, real_expected = found[prompts.is_real_BT], expected[prompts.is_real_BT]
    agree = real_found.argmax(-1) == real_expected.argmax(-1)
    return Difference(
        name=prompts.name,
        tokens=int(prompts.is_real_BT.sum()),
        # NaN compares as False everywhere: it must not look like a difference of nothing.
        largest=float(np.nan_to_num(np.abs(real_found - real_expected), nan=np.inf).max()),
        spread=float(real_expected.std()),
        agreement=float(agree.mean()),
    )
