"""The dashboard: alerts to people, in a browser."""
