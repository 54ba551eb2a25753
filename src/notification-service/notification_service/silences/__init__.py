"""Silences: which alerts are hidden from notification, and until when."""
