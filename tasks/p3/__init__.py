"""P3: its data sets, each in prompts of our own."""
