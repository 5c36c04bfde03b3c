"""What lets other programs run our models: lm-evaluation-harness."""
