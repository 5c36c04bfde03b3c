"""A run for the tests of exactness: `python -m tests.exact_run FOLDER`, to be killed at will.

Its data is a packed mixture of two tasks, shuffled, one of them capped, over several epochs, read
from a token cache; its model has dropout, and is validated while it trains. Every process writes
the examples of the steps that it asks for into FOLDER/ids/PROCESS.jsonl.
"""

import json
import os
import pathlib
import sys
from typing import Any

STEPS = 200
PERIOD = 20


def settings(folder: str, **changes: Any) -> Any:
    """The curriculum of one stage."""
    from teacherlm_jax.checkpoints import manager
    from teacherlm_jax.partitioning.mesh import MeshConfig
    from teacherlm_jax.training import optimizer, stage_run, stages
    from teacherlm_jax.training.stage import Stage
    from tests.data import tiny_tasks
    from tests.training import tiny

    stage = Stage(
        name="stage",
        mixture_or_task_name=tiny_tasks.MIXTURE,
        task_feature_lengths={"inputs": 24, "targets": 24},
        train_steps=STEPS,
        batch_size=8,
        optimizer=optimizer.AdamW(optimizer.warmup_cosine(1e-2, STEPS, 10), weight_decay=0.1),
        pack=True,
        max_examples={"teacherlm_test_shapes": 7},
        eval_period=50,
        eval_split="train",
        microbatches=2,
        seed=5,
    )
    values = {
        "mesh": MeshConfig(fsdp=2, tensor=2, data=-1),
        "save_policy": manager.SavePolicy(period=PERIOD, keep=3),
        "watch": stage_run.Watch(log_period=15),
        "token_cache_dir": str(pathlib.Path(folder) / "cache"),
        **changes,
    }
    return stages.Curriculum(
        (stage,), str(pathlib.Path(folder) / "model"), tiny.config(dropout_rate=0.1), **values
    )


def record_ids(folder: str) -> None:
    """Has the ids of every step written down, as this process asks for them."""
    from teacherlm_jax.data import batches

    path = pathlib.Path(folder) / "ids" / f"{os.getpid()}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    give = batches.MixtureBatches.__call__

    def recorded(self: Any, step: int, rows: Any = None) -> Any:
        ids, arrays = give(self, step, rows)
        if self.steps is None:  # The validation's end.
            with path.open("a") as stream:
                stream.write(json.dumps([step, ids]) + "\n")
        return ids, arrays

    batches.MixtureBatches.__call__ = recorded


def main() -> None:
    """Trains, alone or as a host of several."""
    from teacherlm_jax.metrics import start_up

    start_up.prepare_environment()
    from teacherlm_jax.partitioning import hosts

    hosts.initialize_from_environment()
    from teacherlm_jax.training import stages

    folder = sys.argv[1]
    record_ids(folder)
    stages.train(settings(folder))


if __name__ == "__main__":
    main()
