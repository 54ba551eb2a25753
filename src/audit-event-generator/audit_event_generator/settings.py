"""The settings of the service. They are read once, at start."""

import os
from pathlib import Path
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
    #: A token that permits everything. Optional if ``ingest_tokens`` has tokens.
    ingest_token: Secret | None = None
    #: The previous token. It is accepted too, while the token is rotated.
    ingest_token_before: Secret | None = None
    #: A document with a token for each source: docs/how-to/ingest-tokens.md.
    ingest_tokens: Secret | None = None
    #: The file with this document. It is read again when it changes. The default is the file
    #: INGEST_TOKENS in SECRETS_DIR.
    ingest_tokens_file: Path | None = None
    #: The secret that GitHub signs its webhooks with. The signature then replaces the token.
    github_webhook_secret: Secret | None = None
    #: Send receipts for the ledger. Set to false if no archive process consumes them.
    ledger: bool = True
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
    def tokens_file(self) -> Path | None:
        """The file with the document of tokens; None if the environment has the document."""
        folder = os.environ.get("SECRETS_DIR")
        if self.ingest_tokens_file is not None:
            return self.ingest_tokens_file
        if "INGEST_TOKENS" in os.environ or not folder:
            return None
        return Path(folder) / "INGEST_TOKENS"

    @property
    def rate(self) -> float:
        """Synthetic events per second; 0 when the stream is off."""
        if self.generator_rate is not None:
            return self.generator_rate
        interval = self.event_generation_interval_seconds
        return 1 / interval if interval else 0.0
