"""Hyperparameter search: one neutral search, run locally or on Katib."""
