import jax
import numpy as np
import pytest

from teacherlm_jax.generation.placement import Placement
from teacherlm_jax.partitioning import mesh as mesh_lib
from teacherlm_jax.partitioning import rules as rules_lib


def one_device_mesh():
    return mesh_lib.make_mesh(mesh_lib.MeshConfig(), jax.devices()[:1])


def test_equal_placements_share_compiled_functions():
    assert Placement() == Placement() and hash(Placement()) == hash(Placement())
    meshed = Placement(one_device_mesh())
    assert meshed == Placement(one_device_mesh()) != Placement()
    fewer = [rule for rule in rules_lib.LOGICAL_AXIS_RULES if rule[0] != "activation_embed"]
    assert meshed != Placement(one_device_mesh(), fewer)


def test_batches_and_wholes_arrive_as_they_are():
    placement = Placement(one_device_mesh())
    rows = np.arange(6, dtype=np.int32).reshape(3, 2)
    assert placement.shards == Placement().shards == 1
    for put in (placement.put_batch, placement.put_whole):
        placed = put({"rows": rows})["rows"]
        assert placed.sharding.mesh == placement.mesh
        np.testing.assert_array_equal(placed, rows)
    assert Placement().put_batch(rows) is rows


@pytest.mark.parametrize("placement", [Placement(), Placement(one_device_mesh())])
def test_batches_without_rows_are_refused(placement):
    with pytest.raises(ValueError, match=r"batch.size"):
        placement.check_batch_size(0)
