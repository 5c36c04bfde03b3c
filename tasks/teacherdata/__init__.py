"""TeacherData as seqio tasks. Importing this registers them, and reads nothing."""

from teacherlm_jax.tasks.teacherdata.registry import register

register()
