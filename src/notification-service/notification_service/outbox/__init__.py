"""The outbox: from a stored alert to a delivered notification, through PostgreSQL."""
