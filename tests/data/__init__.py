"""Tests of teacherlm_jax.data."""
