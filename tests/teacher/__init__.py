"""Tests of teacherlm_jax.teacher."""
