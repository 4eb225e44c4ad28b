"""A Kubernetes of one node without Docker, for the tests that need one: `python -m tests.cluster.bed up`."""
