"""Files of public checkpoints: what they hold, read part by part, and written."""
