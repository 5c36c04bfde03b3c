"""Parameters saved alone, as an import saves them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from teacherlm_jax.checkpoints import manager, params_only
from teacherlm_jax.checkpoints.manager import CheckpointError, Checkpoints
from teacherlm_jax.partitioning import mesh as mesh_lib
from tests.checkpoints.states import ONE, abstract, content, flip, on_mesh

# Orbax leaves coroutines behind where a read fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("sizes", [ONE, {"fsdp": 4, "tensor": 2}, {"data": 8}])
def test_parameters_saved_alone_restore_onto_any_mesh(tmp_path, sizes):
    params = on_mesh(content(0, width=2**15)[0], **sizes)
    params_only.save(tmp_path, params, {"model": {"name": "x"}})
    checkpoints, step = manager.latest(tmp_path)
    with checkpoints:
        assert step == 0 and checkpoints.metadata(0)["model"] == {"name": "x"}
        for other in (ONE, {"fsdp": 2, "tensor": 4}):
            restored = checkpoints.restore_params(0, abstract(params, **other))
            for one, two in zip(jax.tree.leaves(restored), jax.tree.leaves(params)):
                assert one.dtype == two.dtype
                np.testing.assert_array_equal(one, two)


def test_parameters_saved_alone_and_damaged_are_an_error(tmp_path):
    params = on_mesh(content(0, width=2**15)[0], **ONE)
    params_only.save(tmp_path, params, {})
    flip(tmp_path / "0")
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match="cannot be re"):
        checkpoints.restore_params(0, abstract(params, **ONE))


def test_parameters_that_cannot_be_saved_are_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    message = r"parameters could not be written to .*file/in \(.*; make room or mend the access"
    with pytest.raises(CheckpointError, match=message):
        params_only.save(tmp_path / "file" / "in", on_mesh(content(0)[0], **ONE), {})


def test_the_save_buffer_holds_the_largest_part_of_a_device():
    least = 256 * 1024**2
    for rows, buffer in ((2**28, least), (2**31, 2**29 + 1)):
        mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(data=1, fsdp=8))
        params = {
            name: jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=NamedSharding(mesh, spec))
            for name, shape, spec in (("w", (rows,), P("fsdp")), ("b", (4,), P()))
        }
        assert params_only.buffer_bytes(params) == buffer
