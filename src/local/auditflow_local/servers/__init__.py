"""The servers that AuditFlow needs. Each keeps its data in one folder and listens on loopback."""
