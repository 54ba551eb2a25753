"""The settings of the service, from its environment."""

import ipaddress
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from auditflow.merkle.note import NoteError, Signer
from auditflow.settings import Port, PostgresSettings, RabbitMQSettings, Secret, ServiceSettings
from notification_service.api.callers import REQUESTS_PER_MINUTE
from notification_service.database.retention import MIN_RETENTION_DAYS
from notification_service.receivers.network import Network

#: The name of a key that is derived from a secret.
_KEY_NAME: Final = "auditflow"


def _path(value: object) -> object:
    return value or None


def _folder(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise ValueError(f"there is no folder {path}")
    return path


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = (part.strip() for part in value.split(","))
    return tuple(ipaddress.ip_network(part) for part in parts if part)


def _web_address(value: str | None) -> str | None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value


def _retention(days: int) -> int:
    if days != 0 and not MIN_RETENTION_DAYS <= days <= 36_500:
        raise ValueError(f"must be 0 or from {MIN_RETENTION_DAYS} to 36500 days")
    return days


def _signer(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        try:
            Signer.from_secret(value.get_secret_value().strip(), _KEY_NAME)
        except NoteError as error:
            raise ValueError(str(error)) from None
    return value


class Settings(RabbitMQSettings, PostgresSettings, ServiceSettings):
    """The address, the broker, the database, the tokens of the API, and notifications."""

    port: Port = 8000
    api_token: Secret
    #: The previous token, valid during a rotation.
    api_token_before: Secret | None = None
    #: Requests that a person or an API token may send in a minute to one replica.
    requests_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] = REQUESTS_PER_MINUTE
    #: The key that signs the audit logs: a random secret, or PRIVATE+KEY+name+hash+key from
    #: `auditflow audit new-key`. Without it, nothing is signed.
    audit_log_key: Annotated[SecretStr | None, BeforeValidator(_path), AfterValidator(_signer)] = (
        None
    )
    #: The account that reads, replays and discards dead letters. Without the password, the API does
    #: not offer them.
    rabbitmq_operator_user: str = "auditflow-operator"
    rabbitmq_operator_pass: Secret | None = None
    #: The routing file. Without it, nothing is sent.
    routes_file: Annotated[Path | None, BeforeValidator(_path)] = None
    #: A file for each secret that the routing file names.
    receiver_secrets_dir: Annotated[
        Path | None, BeforeValidator(_path), AfterValidator(_folder)
    ] = None
    #: Networks that are not public and that webhooks may be sent to, separated by commas.
    webhook_allowed_networks: Annotated[
        tuple[Network, ...], NoDecode, BeforeValidator(_networks)
    ] = ()
    #: Days for which findings, resolved alerts and notifications are stored. With 0 they are stored
    #: forever.
    retention_days: Annotated[int, AfterValidator(_retention)] = 400
    #: Where people open the dashboard; notifications link to it.
    dashboard_url: Annotated[str | None, BeforeValidator(_path), AfterValidator(_web_address)] = (
        None
    )

    def audit_signer(self) -> Signer | None:
        """The key that signs the audit logs."""
        key = self.audit_log_key
        return (
            None if key is None else Signer.from_secret(key.get_secret_value().strip(), _KEY_NAME)
        )
