"""From a development table to a fitted pipeline: inputs, features, cross-validation, and the file it is kept in."""
