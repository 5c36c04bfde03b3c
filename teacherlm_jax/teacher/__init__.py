"""Prompts, parsing, annotation and selection: the teacher at work."""
