"""Tests of teacherlm_jax.partitioning."""
