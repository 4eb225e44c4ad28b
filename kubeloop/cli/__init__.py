"""The front door: the `kubeloop` command. Nothing imports it."""
