"""The only room with a Kubernetes client: apply, follow, and explain a failure in a person's words."""
