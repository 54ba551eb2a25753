#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["cryptography>=45"]
# ///
"""Verify an audit log of AuditFlow. This program shares no code with AuditFlow.

    API_TOKEN=... uv run verify_audit_log.py URL --key KEY [--log history] [--checkpoints FOLDER]

URL is the address of the API or a folder with a copy of the log. KEY is the public key that you
stored when you began to use the log. FOLDER has checkpoints that you stored before: without them,
nobody can detect that the end of the log was removed or that all of it was written again.

The log "findings" has the hashes of findings. The program also reads all stored findings and
compares them with the log.

The log "files" has the hashes of the files of the event archive. With --files FOLDER the program
hashes the files of the archive in the folder and compares them with the log.

The program follows RFC 6962 (section 2.1) and c2sp.org/signed-note, tlog-checkpoint and tlog-tiles.
It exits with 0 if the log is verified, with 1 if it is not, and with 2 if it cannot be read.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    """The log is not what it was."""


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Tree:
    """MTH of RFC 6962, section 2.1, over leaf hashes, as the RFC defines it."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves
        self.known: dict[tuple[int, int], bytes] = {}

    def root(self, count: int) -> bytes:
        """The root of the first leaves."""
        return self.hash(0, count) if count else sha256(b"")

    def hash(self, start: int, end: int) -> bytes:
        """The hash of the leaves from start to end."""
        if end - start == 1:
            return self.leaves[start]
        if (start, end) not in self.known:
            k = 1
            while k * 2 < end - start:
                k *= 2
            left, right = self.hash(start, start + k), self.hash(start + k, end)
            self.known[start, end] = sha256(b"\x01" + left + right)
        return self.known[start, end]


def read_checkpoint(note: bytes, keys: list[str], log: str) -> tuple[int, bytes]:
    """The size and the root of a checkpoint, after its signature is verified."""
    body, _, signatures = note.rpartition(b"\n\n")
    text = body + b"\n"
    for key in keys:
        name, _, rest = key.partition("+")
        key_hash, _, encoded = rest.partition("+")
        public = base64.b64decode(encoded)
        named = sha256(name.encode() + b"\n" + public)[:4]
        if public[:1] != b"\x01" or len(public) != 33 or named.hex() != key_hash:
            raise SystemExit(f"{key}: is not a public key of the form NAME+HASH+KEY")
        for line in signatures.splitlines():
            prefix = f"\u2014 {name} ".encode()
            if not line.startswith(prefix):
                continue
            signature = base64.b64decode(line[len(prefix) :])
            if signature[:4] != named:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature[4:], text)
            except InvalidSignature:
                raise Refused("the signature of a checkpoint is invalid") from None
            origin, size, root = text.decode().split("\n")[:3]
            if origin != f"{name}/{log}":
                raise Refused(f"a checkpoint is of the log {origin}, not of {name}/{log}")
            return int(size), base64.b64decode(root)
    raise Refused("a checkpoint is not signed by a trusted key")


def entries_path(number: int, width: int) -> str:
    """The path of the bundle of entries, in groups of three digits."""
    digits = str(number)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return f"tile/entries/{path}" + (f".p/{width}" if width < 256 else "")


def read_entries(source: str, size: int) -> list[bytes]:
    """All entries."""
    entries: list[bytes] = []
    while len(entries) < size:
        width = min(256, size - len(entries))
        path = entries_path(len(entries) // 256, width)
        data, count = read(source, path), 0
        while data:
            length = int.from_bytes(data[:2], "big")
            if len(data) < 2 + length:
                raise Refused(f"{path} is truncated")
            entries.append(data[2 : 2 + length])
            data, count = data[2 + length :], count + 1
        if count != width:
            raise Refused(f"{path} has {count} entries instead of {width}")
    return entries


def read(source: str, path: str) -> bytes:
    """A file of the log. It is empty if it does not exist."""
    if not source.startswith(("http://", "https://")):
        file = Path(source) / path
        return file.read_bytes() if file.is_file() else b""
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        f"{source}/{path}", headers={"Authorization": f"Bearer {os.environ.get('API_TOKEN', '')}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 # nosec B310
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404:
                return b""
        raise


def verify(source: str, keys: list[str], log: str, stored: list[bytes]) -> list[bytes]:
    """The entries of the log. Raises Refused."""
    size, root = read_checkpoint(read(source, "checkpoint"), keys, log)
    known = [read_checkpoint(note, keys, log) for note in stored]
    for earlier, _ in known:
        if earlier > size:
            raise Refused(
                f"the log had {earlier} entries before and has {size}: its end is missing"
            )
    entries = read_entries(source, size)
    tree = Tree([sha256(b"\x00" + entry) for entry in entries])
    for count, expected in [*known, (size, root)]:
        if tree.root(count) != expected:
            raise Refused(f"the first {count} entries are not those that were signed")
    return entries


def read_findings(entries: list[bytes]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The hashes of all versions of each finding in the log, and the months of those that remain.

    Retention deleted the others.
    """
    versions: dict[str, list[str]] = {}
    months: dict[str, str] = {}
    expired_before = ""
    for entry in map(json.loads, entries):
        for finding in entry.get("findings", ()):
            versions.setdefault(finding["finding_id"], []).append(finding["sha256"])
            months[finding["finding_id"]] = finding["month"]
        expired_before = max(expired_before, entry.get("expired_before") or "")
    return versions, {name: month for name, month in months.items() if month >= expired_before}


def pauses(seconds: float) -> Iterator[float]:
    """Nothing first, then steps of waiting, whose sum is the number of seconds."""
    yield 0
    while seconds > 0:
        pause = min(2.0, seconds)
        time.sleep(pause)
        yield pause
        seconds -= pause


def verify_findings(
    source: str, entries: list[bytes], read_again: Callable[[], list[bytes]], wait: float
) -> int:
    """The number of stored findings, all of which are as the log says. Raises Refused.

    The log is read again for ``wait`` seconds while findings differ from it.
    """
    versions, remaining = read_findings(entries)
    earlier = {name: len(hashes) - 1 for name, hashes in versions.items()}
    stored: dict[str, str] = {}
    page: dict[str, Any] = {"next_after": ""}
    while page["next_after"] is not None:
        after = f"?after={page['next_after']}" if page["next_after"] else ""
        page = json.loads(read(source, f"documents{after}"))
        for item in page["documents"]:
            stored[item["finding_id"]] = sha256(item["document"].encode()).hex()
    # Findings may have been stored after the log was read. Their entries are signed a second later.
    for pause in pauses(wait):
        if pause:
            versions, remaining = read_findings(read_again())
        changed = [
            name
            for name, digest in stored.items()
            if name in versions and digest not in versions[name][earlier.get(name, 0) :]
        ]
        missing = [name for name in earlier if name in remaining and name not in stored]
        if not changed and not missing:
            return len(stored)
    raise Refused(f"{len(changed)} findings were changed and {len(missing)} are missing:"
                  f" {', '.join([*changed, *missing][:5])}")  # fmt: skip


def read_files(entries: list[bytes]) -> dict[str, str]:
    """The hashes of the files of the archive by their paths. Raises Refused."""
    present: dict[str, str] = {}
    seen: dict[str, Any] = {}
    for entry in map(json.loads, entries):
        for file in entry.get("added", ()):
            if seen.setdefault(file["path"], file) != file:
                raise Refused(f"the log has two versions of {file['path']}")
            present[file["path"]] = file["sha256"]
        for item in entry.get("removed", ()):
            if present.pop(item["path"], None) is None:
                raise Refused(f"the log removes {item['path']}, which was not in the archive")
    return present


def verify_files(
    folder: Path, entries: list[bytes], read_again: Callable[[], list[bytes]], wait: float
) -> int:
    """The number of files, all of which are in the folder as the log says. Raises Refused.

    The log is read again after at most two of the ``wait`` seconds if files differ from it.
    """
    present = read_files(entries)
    different: list[str] = []
    for path, digest in present.items():
        file = folder / path
        if not file.resolve().is_relative_to(folder.resolve()):
            raise Refused(f"the path {path} leads out of the archive")
        if not file.is_file():
            different.append(path)
            continue
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != digest:
                different.append(path)
    if different:  # files may have been merged or expired after the log was read
        time.sleep(min(2.0, wait))
        remaining = read_files(read_again())
        different = [path for path in different if path in remaining]
    if different:
        raise Refused(f"{len(different)} files were changed or are missing:"
                      f" {', '.join(different[:5])}")  # fmt: skip
    return len(present)


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify an audit log of AuditFlow.")
    parser.add_argument("url", help="the address of the API, or a folder with a copy of the log")
    parser.add_argument("--key", action="append", required=True, help="a trusted public key")
    parser.add_argument("--log", default="history")
    parser.add_argument("--checkpoints", type=Path, help="a folder of earlier checkpoints")
    parser.add_argument("--files", type=Path, help="a folder with the files of the archive")
    parser.add_argument(
        "--wait",
        type=float,
        default=10,
        help="seconds for entries that are signed during the check",
    )
    options = parser.parse_args()
    source = options.url.rstrip("/")
    if source.startswith(("http://", "https://")):
        source += f"/api/v1/audit/{options.log}"
    folder = options.checkpoints and options.checkpoints / options.log
    files = sorted(folder.iterdir()) if folder and folder.is_dir() else []
    stored = [file.read_bytes() for file in files if file.name.isdigit()]
    try:
        entries = verify(source, options.key, options.log, stored)
        if options.log == "findings":
            compared = verify_findings(
                source,
                entries,
                lambda: verify(source, options.key, options.log, stored),
                options.wait,
            )
            sys.stdout.write(f"{compared} stored findings compared\n")
        if options.log == "files" and options.files:
            compared = verify_files(
                options.files,
                entries,
                lambda: verify(source, options.key, options.log, stored),
                options.wait,
            )
            sys.stdout.write(f"{compared} archived files compared\n")
    except Refused as error:
        sys.stderr.write(f"NOT VERIFIED: {error}\n")
        return 1
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot read the log: {error}\n")
        return 2
    sys.stdout.write(f"verified: {len(entries)} entries, {len(stored)} earlier checkpoints\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
