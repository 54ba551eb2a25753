"""The HTTP interface. Every error is a problem document (RFC 9457)."""
