#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["cryptography>=45"]
# ///
"""Verify that an event is in the archive of AuditFlow. This program shares no code with AuditFlow.

    uv run verify_event.py PROOF --key KEY [--file FILE] [--record]

PROOF is the output of `auditflow events prove`. KEY is the public key of the audit logs that you
stored when you began to use them. FILE is a copy of the archived file: its hash is compared too.
With --record the record of the event is the output.

1. The event is a leaf of the Merkle tree of the events of a file.
2. The root of this tree and the hash of the file are in an entry of the audit log "files".
3. The entry is a leaf of the Merkle tree of the log.
4. The root of the log is in a checkpoint that the key signed.

It exits with 0 if all of this holds, with 1 if not, and with 2 if the proof cannot be read.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from verify_audit_log import Refused, read_checkpoint, sha256


def root_of(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2). Raises Refused."""
    if not 0 <= index < size:
        raise Refused(f"a tree of {size} leaves has no leaf {index}")
    fn, sn, result = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise Refused("an inclusion proof is too long")
        if fn & 1 or fn == sn:
            result = sha256(b"\x01" + sibling + result)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            result = sha256(b"\x01" + result + sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise Refused("an inclusion proof is too short")
    return result


def decoded(hashes: list[str]) -> list[bytes]:
    return [base64.b64decode(text, validate=True) for text in hashes]


def verify(document: dict[str, Any], keys: list[str]) -> bytes:
    """The record of the event. Raises Refused."""
    event, entry = document["event"], document["entry"]
    file = event["file"]
    record = base64.b64decode(event["record"], validate=True)
    name = event["event_id"].encode()
    refused = int(bool(event["refused"]))
    line = f"{event['received_ms']:d} {event['occurred_ms']:d} {refused} {len(name)}"
    leaf = b"%b\n%b\n%b" % (line.encode(), name, record)
    root = root_of(sha256(b"\x00" + leaf), event["position"], file["rows"], decoded(event["proof"]))
    if root.hex() != file["events_root"]:
        raise Refused("the event is not in the file")
    if file not in json.loads(entry["entry"]).get("added", ()):
        raise Refused("the entry of the log does not have the file")
    size, signed = read_checkpoint(document["checkpoint"].encode(), keys, "files")
    if entry["size"] != size:
        raise Refused("the proof of the entry is for another size than the checkpoint")
    leaf_hash = sha256(b"\x00" + entry["entry"].encode())
    if root_of(leaf_hash, entry["number"] - 1, size, decoded(entry["proof"])) != signed:
        raise Refused("the entry is not in the log that was signed")
    return record


def verify_copy(copy: Path, digest: str) -> None:
    """Raise Refused if a copy of the file has another hash."""
    with copy.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != digest:
            raise Refused("the file has another hash")


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify that an event is archived.")
    parser.add_argument("proof", type=Path, help="the output of auditflow events prove")
    parser.add_argument("--key", action="append", required=True, help="a trusted public key")
    parser.add_argument("--file", type=Path, help="a copy of the archived file")
    parser.add_argument("--record", action="store_true", help="print the record of the event")
    options = parser.parse_args()
    try:
        document = json.loads(options.proof.read_bytes())
        record = verify(document, options.key)
        event = document["event"]
        if options.file:
            verify_copy(options.file, event["file"]["sha256"])
    except Refused as error:
        sys.stderr.write(f"NOT VERIFIED: {error}\n")
        return 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(f"cannot read the proof: {error!r}\n")
        return 2
    sys.stderr.write(
        f"verified: the event {event['event_id']!r} is row {event['position']} of"
        f" {event['file']['path']}, entry {event['log_number']} of the log\n"
    )
    if options.record:
        sys.stdout.buffer.write(record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
