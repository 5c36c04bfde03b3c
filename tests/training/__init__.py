"""Tests of teacherlm_jax.training."""
