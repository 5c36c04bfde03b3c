"""One stage's step on a mesh: a model on its own, or replicas of it trained side by side.

Replicas are independent runs (students of different seeds). Their states are stacked on a leading
axis that is cut over all devices, each device steps its own, and nothing is communicated.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from teacherlm_jax.data.batches import Arrays
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.parameters import boxed_params, init_params
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning import rules as rules_lib
from teacherlm_jax.partitioning import shardings as shardings_lib
from teacherlm_jax.training import state as state_lib
from teacherlm_jax.training.step import Batch, loss_sums, make_train_step

Tree = Any


def replica_mesh(replicas: int, devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh over the largest number of devices that the replicas divide over."""
    devices = jax.devices() if devices is None else devices
    count = max(n for n in range(1, len(devices) + 1) if replicas % n == 0)
    slices = mesh_lib.slice_count(devices[:count])
    config = mesh_lib.MeshConfig(data=count // slices, slices=slices)
    return mesh_lib.make_mesh(config, devices[:count])


def _each(step: Callable[..., Any], platform: str) -> Callable[..., Any]:
    """The step over a leading axis of replicas that lie on one device.

    A lone replica runs without the axis, and on a CPU several run one after another: its batched
    matrix products are slower than as many single ones. Elsewhere they run together.
    """

    def each(*stacked: Any) -> Any:
        if jax.tree.leaves(stacked)[0].shape[0] == 1:
            outputs = step(*jax.tree.map(lambda leaf: leaf[0], stacked))
            return jax.tree.map(lambda leaf: leaf[None], outputs)
        if platform == "cpu":
            return jax.lax.map(lambda replica: step(*replica), stacked)
        return jax.vmap(step)(*stacked)

    return each


@dataclasses.dataclass(frozen=True)
class Placement:
    """A model, its optimizer and the mesh they run on.

    Attributes:
      model: the decoder.
      optimizer: the optax transformation.
      mesh: devices.
      replicas: number of runs trained together on a leading axis; None: one run, no such axis.
      z_loss: see `loss.cross_entropy`.
      microbatches: see `step.make_train_step`.
      components: of the mixture, whose losses are counted apart; fewer than two: they are not.
      rules: from logical axes to mesh axes.
    """

    model: Decoder
    optimizer: optax.GradientTransformation
    mesh: Mesh
    replicas: int | None = None
    z_loss: float = 0.0
    microbatches: int = 1
    components: tuple[str, ...] = ()
    rules: rules_lib.Rules = rules_lib.LOGICAL_AXIS_RULES

    @functools.cached_property
    def abstract_state(self) -> state_lib.TrainState:
        """Shapes, types and shardings of the state."""
        boxed = state_lib.boxed_state(self.model, self.optimizer)
        return shardings_lib.placed(boxed, self.mesh, self.replicas, rules=self.rules)

    @functools.cached_property
    def abstract_params(self) -> Tree:
        """Shapes, types and shardings of the parameters."""
        boxed = boxed_params(self.model)
        return shardings_lib.placed(boxed, self.mesh, self.replicas, rules=self.rules)

    @functools.cached_property
    def start(self) -> Callable[[Tree], state_lib.TrainState]:
        """Makes a state at step 0 from one run's parameters; replicas all start from the same."""

        def init(params: Tree) -> state_lib.TrainState:
            state = state_lib.from_params(params, self.optimizer)
            if self.replicas is None:
                return state
            return jax.tree.map(
                lambda leaf: jnp.broadcast_to(leaf, (self.replicas, *leaf.shape)), state
            )

        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state)
        return jax.jit(init, out_shardings=shardings)

    def scratch_params(self, seed: int) -> Tree:
        """Parameters at random; the same on every mesh."""
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract_params)
        with jax.set_mesh(self.mesh):
            init = jax.jit(lambda rng: init_params(self.model, rng), out_shardings=shardings)
            return init(jax.random.key(seed))

    @functools.cached_property
    def step_fn(self) -> Callable[..., Any]:
        """The jitted step (state, batch, rng) -> (state, metrics); it donates the state.

        One function a placement, so that runs that share it (arms of one shape) compile once.
        """
        step = make_train_step(
            self.model,
            self.optimizer,
            self.z_loss,
            microbatches=self.microbatches,
            num_components=len(self.counted_components),
        )
        if self.replicas is not None:
            spec = PartitionSpec(shardings_lib.REPLICA_AXES)
            together = jax.shard_map(
                _each(step, self.mesh.devices.flat[0].platform),
                mesh=self.mesh,
                in_specs=(spec, spec, spec),
                out_specs=spec,
                check_vma=False,
            )
            return jax.jit(together, donate_argnums=0)
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state)

        def step_on_mesh(*args: Any) -> Any:
            # Entered while tracing, so that a call costs no more than jit's own dispatch.
            with rules_lib.activate_in_trace(self.mesh, self.rules):
                return step(*args)

        return jax.jit(step_on_mesh, donate_argnums=0, out_shardings=(shardings, None))

    @functools.cached_property
    def sums_fn(self) -> Callable[..., Any]:
        """Jitted (params, batch) -> sums of one run's loss and accuracy, without dropout."""

        def sums_on_mesh(params: Tree, batch: Batch) -> Any:
            with rules_lib.activate_in_trace(self.mesh, self.rules):
                return loss_sums(
                    self.model,
                    params,
                    batch,
                    z_loss=self.z_loss,
                    num_components=len(self.counted_components),
                )

        return jax.jit(sums_on_mesh)

    @property
    def counted_components(self) -> tuple[str, ...]:
        """The components whose losses the step counts apart."""
        return self.components if len(self.components) > 1 else ()

    def rng(self, seed: int, replica_seeds: Sequence[int] | None = None) -> jax.Array:
        """Noise for dropout: one key, or a key a replica that depends on its own seed alone."""
        key = jax.random.key(seed)
        if self.replicas is None:
            return key
        seeds = range(self.replicas) if replica_seeds is None else replica_seeds
        return jax.vmap(lambda own: jax.random.fold_in(key, own))(jnp.asarray(seeds, jnp.uint32))

    @functools.cached_property
    def _batch_sharding(self) -> NamedSharding:
        if self.replicas is None:
            return shardings_lib.batch_sharding(self.mesh, self.rules)
        return NamedSharding(self.mesh, PartitionSpec(shardings_lib.REPLICA_AXES))

    def rows(self, batch_size: int) -> tuple[int, ...] | None:
        """The rows of a batch that this host's devices hold; None: all of them.

        Hosts that hold parts of the same rows (of their heads, say) each have them.
        """
        if jax.process_count() == 1 or self.replicas is not None:
            return None
        held = self._batch_sharding.addressable_devices_indices_map((batch_size,))
        parts = [index[0] for index in held.values() if index is not None]
        return tuple(sorted({row for part in parts for row in range(batch_size)[part]}))

    def place(self, arrays: Arrays, batch_size: int | None = None) -> dict[str, jax.Array]:
        """Puts a batch onto the mesh.

        Args:
          arrays: whole on one host, or where replicas are trained; else those of `rows`.
          batch_size: rows of the whole batch, where arrays hold `rows` alone.
        """
        if jax.process_count() == 1:
            return jax.device_put(arrays, self._batch_sharding)
        rows = None if batch_size is None else self.rows(batch_size)

        def shard(array: np.ndarray) -> jax.Array:
            def read(index: Any) -> np.ndarray:
                if rows is None:
                    return array[index]
                held = np.searchsorted(rows, range(shape[0])[index[0]])
                return array[held][:, *index[1:]]

            shape = array.shape if rows is None else (batch_size, *array.shape[1:])
            return jax.make_array_from_callback(shape, self._batch_sharding, read)

        return {name: shard(array) for name, array in arrays.items()}
