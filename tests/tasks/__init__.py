"""Tests of teacherlm_jax.tasks."""
