"""Evaluation by rank classification: every set in the paper's letters and in its options' texts.

Importing `registry` registers the tasks and mixtures; it reads no data.
"""
