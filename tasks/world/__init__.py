"""The embedded world: invented animals, true by construction, from base model to students.

Importing this registers the seqio tasks of the worlds 0, 1 and 2 (`registry` names them);
`registry.register_world` registers others.
"""

from teacherlm_jax.tasks.world.registry import register_world

for _seed in (0, 1, 2):
    register_world(_seed)
