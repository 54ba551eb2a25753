"""The edge towards clients: HTTP in, problem details out."""
