"""What importing costs, and what the core runs without."""

import subprocess
import sys
import time

# Refuses the modules that the core must do without, then trains, generates and scores.
CORE = """
import importlib.abc, sys

HEAVY = {"tensorflow", "tensorflow_datasets", "tensorflow_text", "seqio", "gin", "clu"}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"the core imports {name}", name=name)

sys.meta_path.insert(0, Refuse())
for name in HEAVY:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{name} is not refused")

import jax, numpy as np
from teacherlm_jax.generation.engine import GenerationRequest, Generator
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models import parameters
from teacherlm_jax.models import parameters
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.partitioning.mesh import MeshConfig, make_mesh
from teacherlm_jax.scoring.rank import Scorer
from teacherlm_jax.scoring.scores import Question, ScoringPolicy
from teacherlm_jax.training import optimizer, state, step

model = Decoder(DecoderConfig(
    vocab_size=12, num_layers=1, emb_dim=16, num_heads=2, head_dim=8, mlp_dim=16))
adamw = optimizer.AdamW(0.03).build(parameters.boxed_params(model))
train_step = jax.jit(step.make_train_step(model, adamw))
make = lambda rng: state.from_params(parameters.init_params(model, rng), adamw)
jax.set_mesh(make_mesh(MeshConfig()))
now = jax.jit(make)(jax.random.key(0))

# Every row says 3 4 5 6 1, after BOS 0.
targets = np.tile([[3, 4, 5, 6, 1]], (4, 1)).astype(np.int32)
inputs = np.concatenate([np.zeros((4, 1), np.int32), targets[:, :-1]], axis=1)
batch = {
    "decoder_input_tokens": inputs,
    "decoder_target_tokens": targets,
    "decoder_loss_weights": np.ones(targets.shape, np.float32),
    "decoder_segment_ids": np.ones(targets.shape, np.int32),
}
losses = []
for _ in range(30):
    now, metrics = train_step(now, batch, jax.random.key(1))
    losses.append(float(metrics["loss"].total / metrics["loss"].weight))
assert losses[-1] < 0.2 * losses[0], losses

generator = Generator(model, now.params, max_new_tokens=6, max_length=16, eos_id=1, bos_id=0)
[result] = generator.generate([GenerationRequest("a", 0, (3, 4))])
assert result.tokens == (5, 6) and result.finished, result

scorer = Scorer(model, ScoringPolicy(max_length=16, bos_id=0))
[score] = scorer.score(now.params, [Question("q", (3, 4), [(7,), (5,)])])
print("prediction", score.prediction)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_importing_the_package_is_quick_and_loads_nothing_else():
    start = time.perf_counter()
    done = run("import sys, teacherlm_jax; print(sorted(sys.modules))")
    assert time.perf_counter() - start < 2.0
    assert done.returncode == 0, done.stderr
    for heavy in ("jax", "numpy", "tensorflow", "seqio", "gin"):
        assert f"'{heavy}'" not in done.stdout


def test_training_generation_and_scoring_run_without_tensorflow_seqio_gin_and_clu():
    done = run(CORE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "prediction 1\n"
