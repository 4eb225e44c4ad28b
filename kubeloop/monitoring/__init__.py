"""Watching: the inference log, its windows, detectors, late labels and performance."""
