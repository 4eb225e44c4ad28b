"""Late labels: what came true, joined to what was predicted."""
