"""Scoring: where an option begins, its log-likelihood, rank classification, and its metrics."""
