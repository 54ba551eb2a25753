"""The process ``audit-log-analysis``: connects rules and windows to RabbitMQ, Redis and HTTP."""
