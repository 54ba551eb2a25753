"""Clients of the APIs of the other services."""
