"""What monitoring keeps of the training rows: counts in bins and what chance does to them, never a row."""
