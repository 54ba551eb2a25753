"""The API of the archive, for commands."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
import httpx
import msgspec

from auditflow import settings, tls
from auditflow.errors import SettingsError
from auditflow.http.problem import Problem
from auditflow.settings import TlsSettings

_SECONDS: Final = 60.0
#: ``--url``: the address of the archive process.
url_option = click.option(
    "--url",
    envvar="ARCHIVE_URL",
    default="http://127.0.0.1:5003",
    show_default=True,
    help="The address of the archive process.",
)


def client(url: str) -> httpx.Client:
    """A client with the token of the variable API_TOKEN. TLS_CA_FILE can name an authority."""
    token = os.environ.get("API_TOKEN", "")
    if not token:
        raise click.ClickException(
            "the variable API_TOKEN is missing: it has the token of the API.\n"
            "With the local platform: set -a; . .auditflow/env; set +a"
        )
    headers = {"Authorization": f"Bearer {token}"}
    try:
        verify = tls.client_context(settings.load(TlsSettings))
    except (SettingsError, OSError) as error:
        raise click.ClickException(f"TLS_CA_FILE cannot be read: {error}") from None
    return httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, verify=verify)


def get(url: str, path: str, query: Mapping[str, str | Sequence[str]]) -> bytes:
    """The body of an answer. Errors become errors of the command.

    ``query`` has the parameters by name. A sequence repeats a parameter.
    """
    return _ask(url, "GET", path, params=dict(query)) or b""


def get_or_none(url: str, path: str, query: Mapping[str, str] | None = None) -> bytes | None:
    """The body of an answer; None if it is not found. Errors become errors of the command."""
    return _ask(url, "GET", path, may_miss=True, params=query)


def post(url: str, path: str, body: bytes) -> bytes:
    """Send a body of JSON. Gives the body of the answer; errors become errors of the command."""
    headers = {"Content-Type": "application/json"}
    return _ask(url, "POST", path, content=body, headers=headers) or b""


def _ask(
    url: str, method: str, path: str, *, may_miss: bool = False, **request: Any
) -> bytes | None:
    try:
        with client(url) as connected:
            answer = connected.request(method, path, **request)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise click.ClickException(f"cannot reach {url}: {error}") from None
    if may_miss and answer.status_code == 404:
        return None
    if not answer.is_success:
        raise click.ClickException(f"{url}: {explain(answer.status_code, answer.content)}")
    return answer.content


def explain(status: int, body: bytes) -> str:
    """The text of a problem."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        return f"answer {status}"
    return f"answer {status}: {problem.detail or problem.title}"
