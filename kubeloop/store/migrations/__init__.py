"""Alembic's script folder: `env.py` and `versions/`."""
