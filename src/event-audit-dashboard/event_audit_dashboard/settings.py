"""What the dashboard reads from the environment."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr

from auditflow.settings import Port, Secret, ServiceSettings

#: Below this a signing key can be found by trying.
MIN_SESSION_SECRET: Final = 32


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().strip()) < MIN_SESSION_SECRET:
        raise ValueError(f"must have at least {MIN_SESSION_SECRET} characters")
    return secret


class DashboardSettings(ServiceSettings):
    """Where it listens, where the alerts are, and who may see them."""

    port: Port = 8080
    notification_service_host: str = "localhost"
    notification_service_port: Port = 8000
    api_token: Secret
    dashboard_user: Annotated[str, Field(min_length=1, max_length=128)] = "admin"
    dashboard_password: Secret
    session_secret: Annotated[Secret, AfterValidator(_long_enough)]
    #: True wherever people reach the dashboard over HTTPS: the cookie then never travels without.
    cookie_secure: bool = False
    #: Reverse proxies in front that tell the client's address in X-Forwarded-For. One too many and
    #: a client may claim any address; one too few and all clients share one.
    trusted_proxies: Annotated[int, Field(ge=0, le=5)] = 0
