"""Weighted sums and metric writers."""
