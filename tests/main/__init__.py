"""Tests of teacherlm_jax.main."""
