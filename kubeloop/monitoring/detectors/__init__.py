"""Drift, quality, outliers, novelty and lost performance, told at a stated rate of false alarms."""
