"""Settings of the dashboard, read from the environment."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from auditflow.contract.access import Role
from auditflow.settings import Port, Secret, ServiceSettings, TlsSettings

#: Minimum length of SESSION_SECRET. A shorter signing key can be found by brute force.
MIN_SESSION_SECRET: Final = 32


def _check_length(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().strip()) < MIN_SESSION_SECRET:
        raise ValueError(f"must have at least {MIN_SESSION_SECRET} characters")
    return secret


def _check_issuer(issuer: str) -> str:
    is_local = issuer.startswith(("http://127.0.0.1:", "http://localhost:"))
    if issuer and not issuer.startswith("https://") and not is_local:
        raise ValueError("must begin with https://")
    return issuer


def parse_roles(text: str) -> dict[str, Role]:
    """Roles by group, from ``group=role,group=role``.

    Raises:
        ValueError: a part has another form, or the role does not exist.
    """
    roles = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        group, separator, role = part.rpartition("=")
        if not separator or not group.strip() or role.strip() not in list(Role):
            known = ", ".join(Role)
            raise ValueError(f"{part[:60]!r} must be group=role; roles are {known}")
        roles[group.strip()] = Role(role.strip())
    return roles


def _check_roles(text: str) -> str:
    parse_roles(text)
    return text


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
    #: The issuer of the identity provider (OpenID Connect). Without it, only local accounts exist.
    oidc_issuer: Annotated[str, AfterValidator(_check_issuer)] = ""
    oidc_client_id: str = ""
    oidc_client_secret: Secret | None = None
    #: The name of the provider on the page of sign-in.
    oidc_name: str = "single sign-on"
    oidc_scopes: str = "openid profile email groups"
    #: The claim that is the user's name, and the claim with the groups.
    oidc_user_claim: str = "email"
    oidc_groups_claim: str = "groups"
    #: Roles by group: "security=lead,platform=admin". Then a user without such a group has no
    #: access. Without it, an admin gives roles on the page of users.
    oidc_roles: Annotated[str, AfterValidator(_check_roles)] = ""
    #: Certificates that sign the provider's. Without it, those of the system.
    oidc_ca_file: Path | None = None
    dashboard_user: Annotated[str, Field(min_length=1, max_length=128)] = "admin"
    dashboard_password: Secret
    session_secret: Annotated[Secret, AfterValidator(_check_length)]
    #: Whether local accounts may or must have a second factor.
    second_factor: Literal["off", "optional", "required"] = "optional"
    #: True where users reach the dashboard over HTTPS. The cookie is then never sent over HTTP.
    cookie_secure: bool = False
    #: Number of reverse proxies in front that set X-Forwarded-For. If it is too high, a client can
    #: claim any address. If it is too low, all clients share the proxy's address.
    trusted_proxies: Annotated[int, Field(ge=0, le=5)] = 0

    @model_validator(mode="after")
    def _check_oidc(self) -> Self:
        if self.oidc_issuer and not (self.oidc_client_id and self.oidc_client_secret):
            raise ValueError("OIDC_ISSUER requires OIDC_CLIENT_ID and OIDC_CLIENT_SECRET")
        return self

    @property
    def oidc_role_of_group(self) -> dict[str, Role]:
        """The role that a group gives."""
        return parse_roles(self.oidc_roles)
