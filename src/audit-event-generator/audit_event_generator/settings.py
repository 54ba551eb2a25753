"""The settings of the service. They are read once, at start."""

from typing import Annotated, Final

from pydantic import Field, ValidationInfo, field_validator

from auditflow.settings import Port, RabbitMQSettings, Secret, ServiceSettings

#: Maximum rate of one process, in events per second.
MAX_RATE: Final = 20_000.0


class Settings(ServiceSettings, RabbitMQSettings):
    """The variables are the field names in capitals.

    The synthetic stream is off by default, so that synthetic events do not mix with real ones.
    """

    port: Port = 5000
    #: The token that senders must present.
    ingest_token: Secret
    #: The previous token. It is accepted too, while the token is rotated.
    ingest_token_before: Secret | None = None
    #: The secret that GitHub signs its webhooks with. The signature then replaces the token.
    github_webhook_secret: Secret | None = None
    #: Synthetic events per second. 0.0167 is one per minute.
    generator_rate: Annotated[float | None, Field(ge=0, le=MAX_RATE, allow_inf_nan=False)] = None
    #: Seed of the synthetic stream. The default is a random seed at each start.
    generator_seed: int | None = None
    #: Seconds between two synthetic events. An alternative to ``generator_rate``.
    event_generation_interval_seconds: Annotated[
        float | None, Field(ge=1 / MAX_RATE, allow_inf_nan=False)
    ] = None

    @field_validator("event_generation_interval_seconds")
    @classmethod
    def _matches_rate(cls, interval: float | None, info: ValidationInfo) -> float | None:
        rate = info.data.get("generator_rate")
        if interval is not None and rate is not None and abs(rate * interval - 1) > 0.01:
            raise ValueError(
                f"every {interval:g} s contradicts GENERATOR_RATE={rate:g}: set only one of them"
            )
        return interval

    @property
    def rate(self) -> float:
        """Synthetic events per second; 0 when the stream is off."""
        if self.generator_rate is not None:
            return self.generator_rate
        interval = self.event_generation_interval_seconds
        return 1 / interval if interval else 0.0
