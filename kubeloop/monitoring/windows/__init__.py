"""From a window of the inference log to a verdict: cut, judge, confirm."""
