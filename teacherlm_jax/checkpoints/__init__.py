"""Orbax checkpoints: save policy and restore."""
