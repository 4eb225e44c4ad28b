"""Compositions of components, their compiled YAML, and how they are run."""
