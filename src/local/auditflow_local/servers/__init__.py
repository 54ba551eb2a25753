"""The servers that AuditFlow stands on, each private to one folder and on loopback only."""
