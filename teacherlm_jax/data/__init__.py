"""Vocabularies, records, feature converter and the step-to-batch pipeline."""
