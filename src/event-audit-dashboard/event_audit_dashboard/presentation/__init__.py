"""Formats values for display. Pure."""
