"""Watching a served model: the inference log is cut into windows, each is judged once, what was said is kept."""
