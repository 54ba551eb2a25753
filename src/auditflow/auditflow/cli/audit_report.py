"""Reports what an operator did on the command line to the audit trail of the API."""

import getpass
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Annotated, Final, Self

import msgspec
from pydantic import Field, model_validator

from auditflow import settings, tls
from auditflow.contract.audit import (
    TRAIL_PATH,
    Outcome,
    ReportedAction,
    TrailReport,
    TrailReports,
    trail_text,
)
from auditflow.errors import AuditFlowError, SettingsError
from auditflow.settings import Secret, TlsSettings

_SECONDS: Final = 10.0


class NotRecorded(AuditFlowError):
    """The audit trail did not store a report. The text says why and what to do."""


class ApiSettings(TlsSettings):
    """The address of the API, and a token with the scope admin."""

    api_url: Annotated[str, Field(pattern="^(https?://.+)?$")] = ""
    api_token: Secret | None = None

    @model_validator(mode="after")
    def _check_both(self) -> Self:
        if bool(self.api_url) != (self.api_token is not None):
            raise ValueError("API_URL and API_TOKEN must be set together")
        return self


def report(
    action: ReportedAction, target: str, detail: Mapping[str, object], outcome: Outcome = "done"
) -> None:
    """Add a row to the audit trail. Returns after the row is stored.

    The actor is the account of the operating system, and the address is the name of this machine.
    With an API token, the API replaces the actor by the name of the token.

    Raises:
        NotRecorded: the API is not configured, not reachable, or refuses the report.
    """
    try:
        api = settings.load(ApiSettings)
    except SettingsError as error:
        raise NotRecorded(str(error)) from None
    if not api.api_url or api.api_token is None:
        raise NotRecorded("set API_URL and API_TOKEN")
    row = TrailReport(
        actor=trail_text(_account()),
        action=action,
        outcome=outcome,
        address=trail_text(socket.gethostname()),
        target=trail_text(target),
        detail={
            name: trail_text(str(value)) for name, value in detail.items() if value is not None
        },
    )
    address = api.api_url.rstrip("/") + TRAIL_PATH
    request = urllib.request.Request(  # noqa: S310 - the pattern of the setting permits http only
        address,
        data=msgspec.json.encode(TrailReports((row,))),
        headers={
            "Authorization": f"Bearer {api.api_token.get_secret_value()}",
            "Content-Type": "application/json",
        },
    )
    _send(request, tls.client_context(api))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would send the token to another address."""

    def redirect_request(self, *_: object) -> None:
        """Follow no redirect."""


def _send(request: urllib.request.Request, context: ssl.SSLContext) -> None:
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            answer.read(10_000)
    except urllib.error.HTTPError as error:
        with error:
            raise NotRecorded(f"{request.full_url}: {error.code} {_reason(error)}") from None
    except OSError as error:
        raise NotRecorded(f"cannot reach {request.full_url}: {error}") from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(10_000))["detail"])[:500]
    except (ValueError, KeyError, TypeError):
        return error.reason


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
