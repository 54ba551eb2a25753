"""The dashboard: the web user interface for analysts."""
