"""What the service reads from its environment."""

from auditflow.settings import Port, PostgresSettings, RabbitMQSettings, Secret, ServiceSettings


class Settings(RabbitMQSettings, PostgresSettings, ServiceSettings):
    """Where to listen, the broker, the database, and the token that clients of the API show."""

    port: Port = 8000
    api_token: Secret
    #: What they showed before, for as long as some still do.
    api_token_before: Secret | None = None
