"""``auditflow audit``: keys, and the verification of audit logs from outside."""

import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import click

from auditflow.merkle.note import NoteError, Signer, Verifier
from auditflow.merkle.verification import NotVerified, verify

_SECONDS: Final = 30.0
#: A bundle has at most 256 entries of 64 KiB each.
_MAX_BYTES: Final = 17 << 20


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
@click.option("--commit", is_flag=True, help="Commit the new checkpoint. The folder is in git.")
def verify_log(
    url: str, log: str, keys: tuple[str, ...], checkpoints: Path | None, *, commit: bool
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
    try:
        newest, note = verify(
            lambda path: _get(f"{url.rstrip('/')}/api/v1/audit/{log}/{path}"),
            verifiers,
            origin=f"{verifiers[0].name}/{log}",
            earlier=earlier,
        )
    except NotVerified as error:
        raise click.ClickException(f"the audit log {log} is NOT verified: {error}") from None
    click.echo(f"{newest.origin}: {newest.size} entries verified, {len(earlier)} checkpoints")
    if folder is None:
        click.echo("Without --checkpoints, a truncated or rewritten log is not detected.", err=True)
    elif _add(folder, newest.size, note) and commit:
        _commit(folder, newest.size)


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


def _get(address: str) -> bytes | None:
    if not address.startswith(("http://", "https://")):
        raise click.BadParameter("must begin with http:// or https://", param_hint="--url")
    token = os.environ.get("API_TOKEN", "")
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        address, headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(  # noqa: S310 # nosec B310 - the scheme is checked above
            request, timeout=_SECONDS
        ) as response:
            return bytes(response.read(_MAX_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404:
                return None
        raise click.ClickException(f"{address}: {error.code} {error.reason}") from None
    except OSError as error:
        raise click.ClickException(f"cannot read {address}: {error}") from None
