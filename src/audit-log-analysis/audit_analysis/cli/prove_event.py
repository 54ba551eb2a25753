"""``auditflow events prove``: exports the proof that an event is archived."""

import time
from pathlib import Path
from typing import Final

import click
import msgspec

from audit_analysis.archive.file_log import LOG
from audit_analysis.cli import archive_api
from auditflow.contract.audit import ArchivedEventProof, ExportedEventProof, InclusionProof

#: New entries are signed within a second. The checkpoint is read again until then, in seconds.
_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 1.0
_AUDIT: Final = f"/api/v1/audit/{LOG}"


@click.command("prove", short_help="Export the proof that an event is archived.")
@click.argument("event_id")
@archive_api.url_option
@click.option(
    "--api-url",
    envvar="API_URL",
    default="http://127.0.0.1:8000",
    show_default=True,
    help="The address of the notification service, which signs the log of files.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, writable=True, path_type=Path), required=True,
    help="The file for the proof.",
)  # fmt: skip
def prove(event_id: str, url: str, api_url: str, out: Path) -> None:
    """Export the proof that the event EVENT_ID is archived.

    The program src/audit-verifier/verify_event.py verifies it. The variable API_TOKEN has a token
    with the scopes alerts:read and audit:read.
    """
    body = archive_api.get(url, "/api/v1/events/proof", {"event_id": event_id})
    try:
        event = msgspec.json.decode(body, type=ArchivedEventProof)
        proof = _with_log(event, api_url)
    except msgspec.MsgspecError as error:
        raise click.ClickException(f"unexpected answer: {error}") from None
    out.write_bytes(msgspec.json.format(msgspec.json.encode(proof), indent=2) + b"\n")
    click.echo(
        f"{out}: row {event.position} of {event.file.path}, entry {event.log_number} of the log"
        f" {LOG}"
    )


def _with_log(event: ArchivedEventProof, api_url: str) -> ExportedEventProof:
    """Add the proof of the log. Waits until the entry is signed."""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        note = archive_api.get_or_none(api_url, f"{_AUDIT}/checkpoint")
        if note is None:
            continue
        size = note.decode().split("\n")[1]
        if not size.isdigit() or int(size) < event.log_number:
            continue
        body = archive_api.get_or_none(
            api_url, f"{_AUDIT}/entries/{event.log_number}", {"size": size}
        )
        if body is not None:
            entry = msgspec.json.decode(body, type=InclusionProof)
            return ExportedEventProof(event=event, entry=entry, checkpoint=note.decode())
    raise click.ClickException(
        f"{api_url}: the entry {event.log_number} of the log {LOG} is not signed. Is AUDIT_LOG_KEY"
        " set?"
    )
