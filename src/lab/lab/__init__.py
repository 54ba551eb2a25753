"""A real Kubernetes cluster with a real Argo CD on one machine."""
