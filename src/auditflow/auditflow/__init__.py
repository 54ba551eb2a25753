"""The contract and the plumbing that the services share, and nothing of any one service."""
