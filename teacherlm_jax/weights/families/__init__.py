"""One table a family of public checkpoints: its configuration, and the names of its tensors."""
