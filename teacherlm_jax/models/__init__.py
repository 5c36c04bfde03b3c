"""The configurable decoder, its layers and its cache."""
