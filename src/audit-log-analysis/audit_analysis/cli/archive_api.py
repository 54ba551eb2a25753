"""The API of the archive, for commands."""

import os
from collections.abc import Mapping, Sequence
from typing import Final

import click
import httpx
import msgspec

from auditflow.http.problem import Problem

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
    """A client with the token of the variable API_TOKEN. SSL_CERT_FILE can name an authority."""
    token = os.environ.get("API_TOKEN", "")
    if not token:
        raise click.ClickException(
            "the variable API_TOKEN is missing: it has the token of the API.\n"
            "With the local platform: set -a; . .auditflow/env; set +a"
        )
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=_SECONDS)


def get(url: str, path: str, query: Mapping[str, str | Sequence[str]]) -> bytes:
    """The body of an answer. Errors become errors of the command."""
    try:
        with client(url) as connected:
            answer = connected.get(path, params=dict(query))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise click.ClickException(f"cannot reach {url}: {error}") from None
    if answer.status_code != 200:
        raise click.ClickException(f"{url}: {explain(answer.status_code, answer.content)}")
    return answer.content


def explain(status: int, body: bytes) -> str:
    """The text of a problem."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        return f"answer {status}"
    return f"answer {status}: {problem.detail or problem.title}"
