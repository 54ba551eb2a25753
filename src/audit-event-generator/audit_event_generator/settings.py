"""What the service reads from the environment, once, at its start."""

from typing import Annotated, Final

from pydantic import Field, ValidationInfo, field_validator

from auditflow.settings import Port, RabbitMQSettings, Secret, ServiceSettings

#: Beyond this one process of this service cannot go.
MAX_RATE: Final = 20_000.0


class Settings(ServiceSettings, RabbitMQSettings):
    """The variables are the field names in capitals.

    The stream is off unless a rate is given: invented events do not belong among real ones by
    default.
    """

    port: Port = 5000
    #: Who sends events must know it.
    ingest_token: Secret
    #: What they knew before, for as long as some still show it.
    ingest_token_before: Secret | None = None
    #: What GitHub signs its webhooks with. Such a signature then stands for the token.
    github_webhook_secret: Secret | None = None
    #: Synthetic events per second. One a minute is 0.0167.
    generator_rate: Annotated[float | None, Field(ge=0, le=MAX_RATE, allow_inf_nan=False)] = None
    #: The same seed tells the same story. Without one, each start tells another.
    generator_seed: int | None = None
    #: Seconds between two synthetic events: the rate, said the other way round.
    event_generation_interval_seconds: Annotated[
        float | None, Field(ge=1 / MAX_RATE, allow_inf_nan=False)
    ] = None

    @field_validator("event_generation_interval_seconds")
    @classmethod
    def _agrees_with_the_rate(cls, interval: float | None, info: ValidationInfo) -> float | None:
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
