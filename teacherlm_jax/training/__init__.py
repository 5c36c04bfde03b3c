"""State, loss, optimizer, step, loop and stages."""
