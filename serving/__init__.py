"""The processes behind an endpoint, and how they are started, followed and ended."""
