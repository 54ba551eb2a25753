"""The messages and their limits: events, findings, identity, bounds, JSON Schemas."""
