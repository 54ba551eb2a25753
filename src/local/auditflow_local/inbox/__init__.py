"""The demo receiver: shows the notifications that a local AuditFlow sends."""
