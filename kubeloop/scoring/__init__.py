"""The exact scoring plan: a fitted pipeline as data, its evaluators, the proof that it answers as scikit-learn does."""
