"""Receivers: how a notification leaves the service."""
