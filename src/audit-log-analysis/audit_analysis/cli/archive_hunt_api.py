"""Hunts of the archive process, for ``auditflow hunt``."""

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.progress import BarColumn, TimeRemainingColumn

from audit_analysis.cli import archive_api
from audit_analysis.cli.progress import terminal_progress
from audit_analysis.cli.rule_paths import plural
from auditflow.contract.finding import Finding
from auditflow.contract.hunts import MAX_RULES, Hunt, HuntRequest, HuntState

_PATH: Final = "/api/v1/hunts"
_POLL_SECONDS: Final = 1.0

_decode_findings = msgspec.json.Decoder(Finding).decode_lines


def request_of(
    rule: str, *, since: dt.datetime, until: dt.datetime | None, publish: bool
) -> HuntRequest:
    """The request for the rules of a file, or for a rule of the service."""
    path = Path(rule)
    if not path.is_file():
        return HuntRequest(rule=rule, since=since, until=until, publish=publish)
    try:
        rules = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path}: cannot be read: {error}") from None
    if not 0 < len(rules) <= MAX_RULES:
        raise click.ClickException(f"{path}: is empty or has more than {MAX_RULES} characters")
    return HuntRequest(rules=rules, since=since, until=until, publish=publish)


def run(
    url: str, request: HuntRequest, *, sleep: Callable[[float], None] = time.sleep
) -> tuple[Hunt, list[Finding]]:
    """Start a hunt and wait for its findings. An interruption by the user cancels it."""
    hunt = _decode(url, archive_api.post(url, _PATH, msgspec.json.encode(request)))
    path = f"{_PATH}/{hunt.hunt_id}"
    try:
        hunt = _wait(url, path, hunt, sleep)
    except KeyboardInterrupt:
        archive_api.post(url, f"{path}/cancel", b"")
        raise click.ClickException("cancelled.") from None
    except click.ClickException as error:
        raise click.ClickException(
            f"{error.message}\nThe hunt {hunt.hunt_id} continues. See {path}."
        ) from None
    if hunt.state is not HuntState.COMPLETED:
        raise click.ClickException(f"the hunt {hunt.state.value}: {hunt.error or 'no reason'}")
    body = archive_api.get(url, f"{path}/findings", {})
    try:
        return hunt, _decode_findings(body)
    except msgspec.MsgspecError as error:
        raise click.ClickException(f"{url}: unexpected answer: {error}") from None


def _wait(url: str, path: str, hunt: Hunt, sleep: Callable[[float], None]) -> Hunt:
    with terminal_progress(BarColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task(hunt.state.value, total=None)
        while not hunt.state.is_final:
            sleep(_POLL_SECONDS)
            hunt = _decode(url, archive_api.get(url, path, {}))
            progress.update(
                task,
                total=max(1, hunt.total_events) if hunt.total_events else None,
                completed=hunt.events,
                description=f"{hunt.state.value}: {plural(hunt.candidates, 'candidate')},"
                f" {plural(hunt.findings, 'finding')}",
            )
    return hunt


def _decode(url: str, body: bytes) -> Hunt:
    try:
        return msgspec.json.decode(body, type=Hunt)
    except msgspec.MsgspecError as error:
        raise click.ClickException(f"{url}: unexpected answer: {error}") from None
