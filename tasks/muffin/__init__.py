"""Muffin: the data sets of FLAN, each in templates of our own."""
