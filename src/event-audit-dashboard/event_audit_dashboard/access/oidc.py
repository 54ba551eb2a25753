"""Sign-in with OpenID Connect: the provider, its users and their roles, and back-channel logout.

Authlib implements the protocol (authorization code with PKCE, state and nonce). This module decides
who the user is and which role the user's groups give.
"""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import requests
from authlib.integrations.base_client.errors import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.flask_client import OAuth  # type: ignore[import-untyped]
from flask import Flask
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from msgspec import Struct
from werkzeug.wrappers import Response

from auditflow.contract.access import Role
from auditflow.errors import AuditFlowError
from event_audit_dashboard.errors import TranslatedError
from event_audit_dashboard.localization.translation import N_
from event_audit_dashboard.settings import DashboardSettings

#: Time limit of a request to the provider, in seconds.
TIMEOUT_SECONDS: Final = 5.0
#: Difference between the clocks that is accepted, and the age of a logout token, in seconds.
LEEWAY_SECONDS: Final = 120
MAX_TOKEN_AGE_SECONDS: Final = 300
MAX_NAME: Final = 128
MAX_LOGOUT_TOKEN: Final = 16_000
#: Signatures of a logout token. "none" and symmetric algorithms are never accepted.
_ALGORITHMS: Final = ["RS256", "PS256", "ES256", "EdDSA", "RS384", "RS512", "ES384", "ES512"]
_LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
#: Unknown keys cause a request to the provider at most this often, in seconds.
_KEYS_SECONDS: Final = 10.0


class SignInRefused(TranslatedError):
    """The provider's answer does not permit a sign-in. The text is fit for the page."""


class ProviderUnavailable(AuditFlowError):
    """The provider cannot be reached, or its answer is not usable."""


class InvalidLogoutToken(AuditFlowError):
    """The logout token is not valid."""


class Identity(Struct, frozen=True):
    """A user at the provider. ``role`` is None if groups do not determine roles."""

    name: str
    subject: str
    role: Role | None
    sid: str = ""


class Logout(Struct, frozen=True):
    """The sessions that the provider ends: of a subject, or one session of the provider."""

    subject: str
    sid: str
    token_id: str
    expires_in: int


class OidcProvider:
    """The provider of the settings."""

    def __init__(self, app: Flask, settings: DashboardSettings) -> None:
        secret = settings.oidc_client_secret
        self._settings = settings
        self._roles = settings.oidc_role_of_group
        self._keys_read_at = 0.0
        oauth = OAuth(app)
        self._client: Any = oauth.register(
            "oidc",
            server_metadata_url=f"{settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration",
            client_id=settings.oidc_client_id,
            client_secret=secret.get_secret_value().strip() if secret else None,
            client_kwargs={
                "scope": settings.oidc_scopes,
                "code_challenge_method": "S256",
                "default_timeout": TIMEOUT_SECONDS,
                "verify": str(settings.oidc_ca_file) if settings.oidc_ca_file else True,
            },
        )

    def redirect(self, callback: str) -> Response:
        """Send the browser to the provider.

        Raises:
            ProviderUnavailable: the provider cannot be reached.
        """
        self._metadata()
        response: Response = self._client.authorize_redirect(callback)
        return response

    def identity(self) -> Identity:
        """The user whom the provider sent back with this request.

        Raises:
            SignInRefused: the answer is invalid, or the user has no access.
            ProviderUnavailable: the provider cannot be reached.
        """
        self._metadata()
        try:
            token = self._client.authorize_access_token()
            claims = dict(token.get("userinfo") or {})
            if claims and self._settings.oidc_groups_claim not in claims:
                more = dict(self._client.userinfo(token=token))
                if more.get("sub") != claims.get("sub"):
                    raise SignInRefused(N_("The provider sent the data of another user."))
                claims = {**more, **claims}
        except requests.RequestException as error:
            raise ProviderUnavailable(type(error).__name__) from None
        except OAuthError as error:
            raise SignInRefused(
                N_("The provider refused the sign-in: %(reason)s."),
                reason=str(error.error),
            ) from None
        except (JoseError, ValueError, KeyError, RuntimeError) as error:
            raise SignInRefused(
                N_("The response of the identity provider is invalid: %(reason)s."),
                reason=type(error).__name__,
            ) from None
        if not claims:
            raise SignInRefused(N_("The provider sent no identity."))
        return self.identify(claims)

    def identify(self, claims: Mapping[str, Any]) -> Identity:
        """The name and role of a user with these claims, which are verified.

        Raises:
            SignInRefused: the user has no usable name, or no access.
        """
        settings = self._settings
        name = claims.get(settings.oidc_user_claim)
        if not isinstance(name, str) or not name.strip():
            raise SignInRefused(
                N_("The provider sent no claim %(claim)s."),
                claim=settings.oidc_user_claim,
            )
        name = name.strip()
        if len(name) > MAX_NAME or not name.isprintable():
            raise SignInRefused(N_("The provider sent a name that is too long or not printable."))
        if settings.oidc_user_claim == "email" and claims.get("email_verified") is False:
            raise SignInRefused(N_("Your e-mail address is not verified at the provider."))
        if name.casefold() == settings.dashboard_user.casefold():
            # Otherwise a user of the provider could act as the built-in account.
            raise SignInRefused(N_("This name belongs to the built-in account."))
        return Identity(
            name=name,
            subject=str(claims["sub"]),
            role=self._role(claims.get(settings.oidc_groups_claim)),
            sid=str(claims.get("sid") or ""),
        )

    def _role(self, groups: object) -> Role | None:
        if not self._roles:
            return None
        given = groups if isinstance(groups, list) else [groups]
        roles = [
            self._roles[group] for group in given if isinstance(group, str) and group in self._roles
        ]
        if not roles:
            raise SignInRefused(N_("None of your groups has access to this dashboard."))
        return max(roles, key=lambda role: role.rank)

    def logout(self, token: str) -> Logout:
        """Verify a token of OpenID Connect Back-Channel Logout 1.0.

        Raises:
            InvalidLogoutToken: it is not valid.
            ProviderUnavailable: the provider's keys cannot be read.
        """
        metadata = self._metadata()
        if not token or len(token) > MAX_LOGOUT_TOKEN:
            raise InvalidLogoutToken("no logout_token, or it is too long")
        try:
            claims = self._decode(token)
        except requests.RequestException as error:
            raise ProviderUnavailable(type(error).__name__) from None
        except (JoseError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise InvalidLogoutToken(f"signature: {type(error).__name__}") from None
        return check_logout(
            claims, issuer=metadata["issuer"], client=self._settings.oidc_client_id, now=time.time()
        )

    def _decode(self, token: str) -> dict[str, Any]:
        registry = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
        try:
            keys = KeySet.import_key_set(self._client.fetch_jwk_set())
            return dict(jwt.decode(token, key=keys, registry=registry).claims)
        except InvalidKeyIdError:
            if time.monotonic() - self._keys_read_at < _KEYS_SECONDS:
                raise
            self._keys_read_at = time.monotonic()
            keys = KeySet.import_key_set(self._client.fetch_jwk_set(force=True))
            return dict(jwt.decode(token, key=keys, registry=registry).claims)

    def _metadata(self) -> dict[str, Any]:
        try:
            metadata: dict[str, Any] = self._client.load_server_metadata()
        except (requests.RequestException, json.JSONDecodeError, RuntimeError) as error:
            raise ProviderUnavailable(type(error).__name__) from None
        if metadata.get("issuer") != self._settings.oidc_issuer:
            raise ProviderUnavailable("the provider's issuer is not OIDC_ISSUER")
        return metadata


def check_logout(claims: Mapping[str, Any], *, issuer: str, client: str, now: float) -> Logout:
    """Check the claims of a logout token (Back-Channel Logout 1.0, section 2.6).

    ``now`` is in seconds since 1970.

    Raises:
        InvalidLogoutToken: the text states what is wrong.
    """
    audience = claims.get("aud")
    events = claims.get("events")
    issued_at, expires_at = claims.get("iat"), claims.get("exp", now + MAX_TOKEN_AGE_SECONDS)
    subject, sid, token_id = claims.get("sub", ""), claims.get("sid", ""), claims.get("jti")
    if claims.get("iss") != issuer:
        raise InvalidLogoutToken("another issuer")
    if client not in (audience if isinstance(audience, list) else [audience]):
        raise InvalidLogoutToken("another audience")
    if not isinstance(events, dict) or _LOGOUT_EVENT not in events:
        raise InvalidLogoutToken("no event of a logout")
    if "nonce" in claims:
        raise InvalidLogoutToken("a nonce is not allowed")
    if not isinstance(issued_at, int | float) or not isinstance(expires_at, int | float):
        raise InvalidLogoutToken("no valid times")
    if issued_at > now + LEEWAY_SECONDS or issued_at < now - MAX_TOKEN_AGE_SECONDS:
        raise InvalidLogoutToken("too old, or of the future")
    if expires_at < now - LEEWAY_SECONDS:
        raise InvalidLogoutToken("expired")
    if not isinstance(token_id, str) or not isinstance(subject, str) or not isinstance(sid, str):
        raise InvalidLogoutToken("no jti, or sub or sid is no text")
    if not subject and not sid:
        raise InvalidLogoutToken("neither sub nor sid")
    return Logout(subject, sid, token_id, MAX_TOKEN_AGE_SECONDS + 2 * LEEWAY_SECONDS)
