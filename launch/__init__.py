"""Starts runs: on this machine, and on clusters."""
