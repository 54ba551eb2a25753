"""A real Kubernetes with a real Argo CD on a machine that has neither."""
