"""Tests of teacherlm_jax; the folders mirror the package."""
