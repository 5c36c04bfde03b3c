"""Rank classification of checkpoints: seqio's tasks, the scorer, receipts and reports, wired."""
