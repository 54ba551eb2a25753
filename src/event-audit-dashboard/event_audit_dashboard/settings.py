"""Settings of the dashboard, read from the environment."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr

from auditflow.settings import Port, Secret, ServiceSettings, TlsSettings

#: Minimum length of SESSION_SECRET. A shorter signing key can be found by brute force.
MIN_SESSION_SECRET: Final = 32


def _check_length(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().strip()) < MIN_SESSION_SECRET:
        raise ValueError(f"must have at least {MIN_SESSION_SECRET} characters")
    return secret


class DashboardSettings(TlsSettings, ServiceSettings):
    """Address of the server, of the API, and the built-in account."""

    port: Port = 8080
    notification_service_host: str = "localhost"
    notification_service_port: Port = 8000
    #: Whether the notification service is reached over TLS. TLS_CA_FILE names trusted authorities.
    notification_service_tls: bool = False
    api_token: Secret
    #: The analysis, which serves the rules.
    analysis_host: str = "localhost"
    analysis_port: Port = 5001
    analysis_tls: bool = False
    #: The API of archived events. Without a host, the pages about events are not offered.
    events_api_host: str = ""
    events_api_port: Port = 5002
    events_api_tls: bool = False
    #: A folder with the runbooks of rules as Markdown. Without it, runbooks are only links.
    runbooks_dir: Path | None = None
    #: Redis for sessions and the login throttle. Without a host, they are in the memory of the
    #: process, which is only right for one replica.
    redis_host: str = ""
    redis_port: Port = 6379
    #: Whether Redis and the Sentinels are reached over TLS.
    redis_tls: bool = False
    redis_user: str = "event-audit-dashboard"
    redis_password: Secret | None = None
    #: Addresses of Sentinels, as host:port separated by commas. They replace host and port.
    redis_sentinels: str = ""
    redis_sentinel_service: str = "auditflow"
    dashboard_user: Annotated[str, Field(min_length=1, max_length=128)] = "admin"
    dashboard_password: Secret
    session_secret: Annotated[Secret, AfterValidator(_check_length)]
    #: True where users reach the dashboard over HTTPS. The cookie is then never sent over HTTP.
    cookie_secure: bool = False
    #: Number of reverse proxies in front that set X-Forwarded-For. If it is too high, a client can
    #: claim any address. If it is too low, all clients share the proxy's address.
    trusted_proxies: Annotated[int, Field(ge=0, le=5)] = 0
