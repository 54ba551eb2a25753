"""``auditflow audit``: keys, and the verification of audit logs from outside."""

import hashlib
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import click
import msgspec

from auditflow.contract.audit import ArchivedFileHashes, FindingDocument, FindingDocuments
from auditflow.merkle.checkpoint import Checkpoint
from auditflow.merkle.note import NoteError, Signer, Verifier
from auditflow.merkle.verification import NotVerified, verify
from notification_service.audit.file_check import FileLog, FilesChanged
from notification_service.audit.file_check import check as check_files
from notification_service.audit.finding_check import FindingLog, FindingsChanged, Result, check
from notification_service.audit.logs import FILES, FINDINGS

_SECONDS: Final = 30.0
#: A bundle has at most 256 entries of 64 KiB each.
_MAX_BYTES: Final = 17 << 20

#: A page of findings has at most 200 findings with two events of 256 KiB each.
_MAX_PAGE_BYTES: Final = 128 << 20
#: The maximum time between two reads of the log, in seconds.
_PAUSE_SECONDS: Final = 2.0


@click.group()
def audit() -> None:
    """Verify the audit logs, and create the key that signs them."""


@audit.command("new-key")
@click.argument("name", default="auditflow")
def new_key(name: str) -> None:
    """Create a key for AUDIT_LOG_KEY. NAME is the name of the key.

    The private key is the output. The public key goes to standard error.
    """
    try:
        signer = Signer.generate(name)
        public = signer.verifier
    except NoteError as error:
        raise click.ClickException(str(error)) from None
    click.echo(signer.private_key())
    click.echo(f"The public key, for --key: {public}", err=True)


@audit.command("verify")
@click.option("--url", envvar="API_URL", required=True, help="The address of the API.")
@click.option("--log", default="history", show_default=True, help="The name of the audit log.")
@click.option(
    "--key", "keys", multiple=True, required=True, help="A public key that is trusted. Repeatable."
)
@click.option(
    "--checkpoints",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder of checkpoints. The log is compared with all of them, and its newest checkpoint"
    " is added. Without it, a log that was truncated or rewritten completely is not detected.",
)
@click.option(
    "--archive-url",
    envvar="ARCHIVE_URL",
    help="With --log files: the address of the archive process. It hashes its files, which are"
    " compared with the log.",
)
@click.option(
    "--files",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="With --log files: a folder with the files of the archive. They are hashed here and"
    " compared with the log.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=10,
    show_default=True,
    help="With --log findings or files: the log is read again for this number of seconds, because"
    " entries of findings and files that were stored during the check are signed later.",
)
@click.option("--commit", is_flag=True, help="Commit the new checkpoint. The folder is in git.")
def verify_log(
    url: str,
    log: str,
    keys: tuple[str, ...],
    checkpoints: Path | None,
    *,
    archive_url: str | None,
    files: Path | None,
    wait: float,
    commit: bool,
) -> None:
    """Read an audit log completely and verify it. Exits with 1 if it was changed.

    The variable API_TOKEN has a token with the scopes alerts:read and audit:read.
    """
    try:
        verifiers = [Verifier.parse(key) for key in keys]
    except NoteError as error:
        raise click.BadParameter(str(error), param_hint="--key") from None
    folder = None if checkpoints is None else checkpoints / log
    earlier = _stored(folder)
    known = list(earlier)
    api = f"{url.rstrip('/')}/api/v1/audit/{log}"

    def read_log(on_entry: Callable[[bytes], None]) -> tuple[Checkpoint, str]:
        checkpoint, note = verify(
            lambda path: _get(f"{api}/{path}"),
            verifiers,
            origin=f"{verifiers[0].name}/{log}",
            earlier=known,
            on_entry=on_entry,
        )
        known.append(note)
        return checkpoint, note

    compared: list[str] = []
    try:
        if log == FINDINGS.name:
            newest, note, result = _verify_findings(api, read_log, wait)
            compared.append(
                f"{result.findings} stored findings compared; {result.without_entry} of them are"
                " older than the log, or were stored without an entry"
            )
            if result.added_later:
                compared.append(
                    f"{result.added_later} of them were added to the log after they had been stored"
                )
        elif log == FILES.name:
            newest, note = _verify_files(archive_url, files, read_log, compared, wait)
        else:
            newest, note = read_log(lambda _: None)
    except (NotVerified, FindingsChanged, FilesChanged) as error:
        raise click.ClickException(f"the audit log {log} is NOT verified: {error}") from None
    click.echo(f"{newest.origin}: {newest.size} entries verified, {len(earlier)} checkpoints")
    for line in compared:
        click.echo(line)
    if folder is None:
        click.echo("Without --checkpoints, a truncated or rewritten log is not detected.", err=True)
    elif _add(folder, newest.size, note) and commit:
        _commit(folder, newest.size)


def _pauses(seconds: float) -> Iterator[float]:
    """Wait in steps, and return each step after it. The sum of the steps is ``seconds``."""
    while seconds > 0:
        pause = min(_PAUSE_SECONDS, seconds)
        time.sleep(pause)
        yield pause
        seconds -= pause


def _verify_findings(
    api: str, read_log: Callable[[Callable[[bytes], None]], tuple[Checkpoint, str]], wait: float
) -> tuple[Checkpoint, str, Result]:
    """Verify the log of findings, and compare it with the stored findings.

    ``wait`` is the number of seconds during which the log is read again.
    """
    log = FindingLog()
    newest, note = read_log(log.add)
    pauses = _pauses(wait)

    def read_again() -> FindingLog | None:
        if next(pauses, None) is None:
            return None
        again = FindingLog()
        read_log(again.add)
        return again

    return newest, note, check(log, _documents(api), read_again)


def _verify_files(
    archive_url: str | None,
    folder: Path | None,
    read_log: Callable[[Callable[[bytes], None]], tuple[Checkpoint, str]],
    compared: list[str],
    wait: float,
) -> tuple[Checkpoint, str]:
    """Verify the log of files, and compare it with the files. Adds the results to ``compared``.

    ``wait`` is the number of seconds during which the log is read again.
    """
    log = FileLog()
    newest, note = read_log(log.add)
    pauses = _pauses(wait)

    def read_again() -> FileLog | None:
        if next(pauses, None) is None:
            return None
        again = FileLog()
        read_log(again.add)
        return again

    sources: list[tuple[str, dict[str, str | None], bool]] = []
    if archive_url is not None:
        sources.append(("the archive process", _archived_hashes(archive_url), True))
    if folder is not None:
        sources.append((str(folder), _folder_hashes(folder, log), False))
    for name, stored, is_complete in sources:
        result = check_files(log, stored, read_again, is_complete=is_complete)
        compared.append(
            f"{result.files} archived files compared with {name}; {result.merged} were merged and"
            f" {result.expired} expired"
        )
        if result.shortest_retention is not None:
            compared.append(f"The shortest retention was {result.shortest_retention.days} days")
    if not sources:
        click.echo("Without --archive-url or --files, the files were not compared.", err=True)
    return newest, note


def _archived_hashes(url: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    query = ""
    while True:
        address = f"{url.rstrip('/')}/api/v1/archive/files{query}"
        try:
            page = msgspec.json.decode(_get(address) or b"", type=ArchivedFileHashes)
        except msgspec.MsgspecError as error:
            raise click.ClickException(f"{address}: {error}") from None
        found |= {file.path: file.sha256 for file in page.files}
        if page.next_after is None:
            return found
        query = f"?after={quote(page.next_after, safe='')}"


def _folder_hashes(folder: Path, log: FileLog) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for path in log.present:
        file = folder / path
        if not file.resolve().is_relative_to(folder.resolve()):
            raise FilesChanged(f"the path {path} leads out of the archive")
        try:
            with file.open("rb") as opened:
                found[path] = hashlib.file_digest(opened, "sha256").hexdigest()
        except FileNotFoundError:
            found[path] = None
        except OSError as error:
            raise click.ClickException(f"cannot read {file}: {error}") from None
    return found


def _documents(api: str) -> Iterator[FindingDocument]:
    query = ""
    while True:
        body = _get(f"{api}/documents{query}", max_bytes=_MAX_PAGE_BYTES) or b""
        try:
            page = msgspec.json.decode(body, type=FindingDocuments)
        except msgspec.MsgspecError as error:
            raise click.ClickException(f"{api}/documents: {error}") from None
        yield from page.documents
        if page.next_after is None:
            return
        query = f"?after={page.next_after}"


def _stored(folder: Path | None) -> list[str]:
    if folder is None or not folder.is_dir():
        return []
    return [file.read_text("utf-8") for file in sorted(folder.iterdir()) if file.name.isdigit()]


def _add(folder: Path, size: int, note: str) -> bool:
    """Add a checkpoint. False if it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{size:012}"
    if file.exists():
        return False
    file.write_text(note, "utf-8")
    return True


def _commit(folder: Path, size: int) -> None:
    def git(*arguments: str) -> None:
        command = ("git", "-C", str(folder), *arguments)
        done = subprocess.run(  # noqa: S603 - the arguments are a path and a number
            command, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise click.ClickException(f"git {arguments[0]}: {done.stderr.strip()}")

    git("add", f"{size:012}")
    message = f"Checkpoint of the audit log {folder.name} at {size} entries"
    git("commit", "--quiet", "--message", message, "--", f"{size:012}")


def _get(address: str, *, max_bytes: int = _MAX_BYTES) -> bytes | None:
    if not address.startswith(("http://", "https://")):
        raise click.BadParameter("must begin with http:// or https://", param_hint="--url")
    token = os.environ.get("API_TOKEN", "")
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        address, headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(  # noqa: S310 # nosec B310 # checked above
            request, timeout=_SECONDS
        ) as response:
            return bytes(response.read(max_bytes))
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404:
                return None
        raise click.ClickException(f"{address}: {error.code} {error.reason}") from None
    except OSError as error:
        raise click.ClickException(f"cannot read {address}: {error}") from None
