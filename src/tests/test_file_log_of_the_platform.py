"""The signed log of archived files: proofs of events, and attacks on the files and the manifest."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from src.tests.events import failed_login
from src.tests.platform import Platform

from auditflow_local.polling import eventually
from auditflow_local.servers.postgres_roles import ARCHIVE, OWNER

AUDITFLOW = str(Path(sys.executable).parent / "auditflow")
VERIFIERS = Path(__file__).parents[1] / "audit-verifier"
EVENTS = 40


class Auditor:
    """Someone with a token, the public key and a folder of checkpoints."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform = platform
        self.folder = folder
        self.archive = platform.archive.log.parent / "archive"
        with platform.api() as client:
            logs = client.get("/api/v1/audit/logs").raise_for_status().json()["logs"]
        self.key = next(log["public_key"] for log in logs if log["name"] == "files")

    def verify(self, *more: str, commit: bool = False) -> tuple[int, str]:
        """The exit code and the output of the command."""
        checkpoints = self.folder if commit else self.copy()
        done = self.run(
            AUDITFLOW, "audit", "verify", "--log", "files", "--url",
            self.platform.notification.url, "--key", self.key, "--checkpoints", str(checkpoints),
            "--archive-url", self.platform.archive.url, "--files", str(self.archive), *more,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def copy(self) -> Path:
        """A copy of the checkpoints, so that a check of an attack does not add one."""
        copy = self.folder.with_name("copy-of-checkpoints")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder, copy)
        return copy

    def verify_independently(self, *more: str) -> tuple[int, str]:
        done = self.run(
            sys.executable, str(VERIFIERS / "verify_audit_log.py"), self.platform.notification.url,
            "--log", "files", "--key", self.key, "--checkpoints", str(self.folder),
            "--files", str(self.archive), *more,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def prove(self, event_id: str, out: Path) -> subprocess.CompletedProcess[str]:
        return self.run(
            AUDITFLOW, "events", "prove", event_id, "--url", self.platform.archive.url,
            "--api-url", self.platform.notification.url, "--out", str(out),
        )  # fmt: skip

    def verify_event(self, proof: Path, *more: str) -> subprocess.CompletedProcess[str]:
        program = str(VERIFIERS / "verify_event.py")
        return self.run(sys.executable, program, str(proof), "--key", self.key, *more)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env={**os.environ, "API_TOKEN": self.platform.secrets["API_TOKEN"]},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def auditor(fresh_platform: Platform, tmp_path: Path) -> Auditor:
    return Auditor(fresh_platform, tmp_path / "checkpoints")


@pytest.fixture
def files(fresh_platform: Platform) -> list[str]:
    """The paths of two or more archived files, whose entries are signed."""
    platform = fresh_platform
    for part in range(2):
        events = [failed_login(f"part-{part}-{at}", "alice", at=at) for at in range(EVENTS)]
        platform.send(events)
        eventually(lambda: archived(platform, part), what="archived events")  # noqa: B023
    entries = query(platform, "SELECT max(number) FROM archive.file_log")[0][0]
    with platform.api() as client:

        def size() -> int:
            answer = client.get("/api/v1/audit/files/checkpoint")
            return int(answer.text.split("\n")[1]) if answer.status_code == 200 else 0

        eventually(lambda: size() == entries, what="a checkpoint of all entries")
    return [path for (path,) in query(platform, "SELECT path FROM archive.files ORDER BY file_id")]


def archived(platform: Platform, part: int) -> bool:
    rows = query(platform, "SELECT coalesce(sum(rows), 0) FROM archive.files")
    return int(rows[0][0]) >= EVENTS * (part + 1)


def query(platform: Platform, statement: str, role: str = ARCHIVE, **values: Any) -> list[Any]:
    connection = psycopg2.connect(platform.database.dsn(role))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def change(auditor: Auditor, paths: list[str]) -> None:
    file = auditor.archive / paths[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def remove(auditor: Auditor, paths: list[str]) -> None:
    (auditor.archive / paths[-1]).unlink()


def replace(auditor: Auditor, paths: list[str]) -> None:
    """Exchange a file by another valid file, and change the manifest accordingly."""
    shutil.copyfile(auditor.archive / paths[0], auditor.archive / paths[-1])
    query(
        auditor.platform,
        "UPDATE archive.files SET (sha256, rows, size) ="
        " (SELECT sha256, rows, size FROM archive.files WHERE path = %(first)s)"
        " WHERE path = %(last)s",
        first=paths[0], last=paths[-1],
    )  # fmt: skip


def change_entry(auditor: Auditor, paths: list[str]) -> None:
    """Change a file, the manifest and the entry of the log."""
    change(auditor, paths)
    digest = auditor.run("sha256sum", str(auditor.archive / paths[0])).stdout.split()[0]
    (old,) = query(
        auditor.platform,
        "SELECT encode(sha256, 'hex') FROM archive.files WHERE path = %(path)s", path=paths[0],
    )[0]  # fmt: skip
    query(
        auditor.platform,
        "UPDATE archive.files SET sha256 = decode(%(new)s, 'hex') WHERE path = %(path)s",
        new=digest, path=paths[0],
    )  # fmt: skip
    query(
        auditor.platform, "UPDATE archive.file_log SET entry = replace(entry, %(old)s, %(new)s)",
        old=old, new=digest,
    )  # fmt: skip


def roll_back(auditor: Auditor, paths: list[str]) -> None:
    """Restore an older state of files, manifest, log, tiles and checkpoints."""
    query(auditor.platform, "DELETE FROM archive.files WHERE path = %(path)s", path=paths[-1])
    query(
        auditor.platform,
        "DELETE FROM archive.file_log WHERE number = (SELECT max(number) FROM archive.file_log)",
    )
    (auditor.archive / paths[-1]).unlink()
    for table in ("merkle_checkpoints", "merkle_tiles"):
        query(auditor.platform, f"DELETE FROM {table} WHERE log = 'files'", OWNER)


ATTACKS: tuple[Callable[[Auditor, list[str]], None], ...] = (
    change,
    remove,
    replace,
    change_entry,
    roll_back,
)


@pytest.fixture
def restore(auditor: Auditor, files: list[str], tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Undoes an attack."""
    backup = tmp_path / "backup"
    shutil.copytree(auditor.archive, backup)
    tables = {
        "archive.files": ARCHIVE, "archive.file_log": ARCHIVE, "merkle_tiles": OWNER,
        "merkle_checkpoints": OWNER,
    }  # fmt: skip
    for table, role in tables.items():
        schema = "archive." if role == ARCHIVE else ""
        name = table.partition(".")[2] or table
        query(auditor.platform, f"CREATE TABLE {schema}copy_of_{name} AS TABLE {table}", role)

    def undo() -> None:
        shutil.copytree(backup, auditor.archive, dirs_exist_ok=True)
        for table, role in tables.items():
            schema = "archive." if role == ARCHIVE else ""
            name = table.partition(".")[2] or table
            override = " OVERRIDING SYSTEM VALUE" if table == "archive.files" else ""
            query(
                auditor.platform,
                f"BEGIN; DELETE FROM {table}; INSERT INTO {table}{override} SELECT * FROM"
                f" {schema}copy_of_{name}; COMMIT",
                role,
            )

    yield undo
    undo()


def test_both_verifiers_detect_attacks_on_the_archive(
    auditor: Auditor, files: list[str], restore: Callable[[], None]
) -> None:
    # Given an archive whose log an auditor has verified
    code, text = auditor.verify(commit=True)
    assert code == 0, text
    assert f"{len(files)} archived files compared with the archive process" in text
    assert f"{len(files)} archived files compared with {auditor.archive}" in text
    code, text = auditor.verify_independently()
    assert (code, f"{len(files)} archived files compared" in text) == (0, True), text

    # when the owner of storage and database attacks it, then both programs detect it
    detected = []
    for attack in ATTACKS:
        attack(auditor, files)
        code, text = auditor.verify("--wait", "0.2")
        assert (code, "is NOT verified" in text) == (1, True), (attack.__name__, text)
        code, text = auditor.verify_independently("--wait", "0.2")
        assert (code, "NOT VERIFIED" in text) == (1, True), (attack.__name__, text)
        detected.append(attack.__name__)
        restore()
        code, text = auditor.verify()
        assert code == 0, (attack.__name__, text)
    assert len(detected) == len(ATTACKS)

    # and the command detects a file that only the manifest lost: searches do not find its events
    query(auditor.platform, "DELETE FROM archive.files WHERE path = %(path)s", path=files[0])
    code, text = auditor.verify("--wait", "0.2")
    assert (code, f"1 files are missing: {files[0]}" in text) == (1, True), text


def test_the_proof_of_an_event_is_verified_without_our_code(
    auditor: Auditor, files: list[str], tmp_path: Path
) -> None:
    # Given the proof of an archived event
    proof = tmp_path / "proof.json"
    done = auditor.prove("part-1-7", proof)
    assert done.returncode == 0, done.stderr
    document = json.loads(proof.read_text())
    file = document["event"]["file"]
    assert file["path"] in files

    # then the program accepts it, and shows the record
    accepted = auditor.verify_event(
        proof, "--file", str(auditor.archive / file["path"]), "--record"
    )
    assert accepted.returncode == 0, accepted.stderr
    assert json.loads(accepted.stdout)["event_id"] == "part-1-7"

    # and it refuses each changed part
    def changed(edit: Callable[[dict[str, Any]], None]) -> Path:
        copy = json.loads(proof.read_text())
        edit(copy)
        out = tmp_path / "changed.json"
        out.write_text(json.dumps(copy))
        return out

    edits: dict[str, Callable[[dict[str, Any]], None]] = {
        "record": lambda it: it["event"].update(record="eA=="),
        "time": lambda it: it["event"].update(received_ms=it["event"]["received_ms"] + 1),
        "identifier": lambda it: it["event"].update(event_id="part-1-8"),
        "refused": lambda it: it["event"].update(refused=True),
        "position": lambda it: it["event"].update(position=it["event"]["position"] ^ 1),
        "file": lambda it: it["event"]["file"].update(sha256="0" * 64),
        "rows": lambda it: it["event"]["file"].update(rows=file["rows"] + 1),
        "entry": lambda it: it["entry"].update(entry=it["entry"]["entry"].replace("Z", "+00:00")),
        "number": lambda it: it["entry"].update(number=it["entry"]["number"] + 1),
        "checkpoint": lambda it: it.update(
            checkpoint=it["checkpoint"].replace(f"\n{it['entry']['size']}\n", "\n9\n")
        ),
    }
    for name, edit in edits.items():
        refused = auditor.verify_event(changed(edit))
        assert refused.returncode == 1, (name, refused.stdout, refused.stderr)
    other = next(path for path in files if path != file["path"])
    assert auditor.verify_event(proof, "--file", str(auditor.archive / other)).returncode == 1
    assert auditor.verify_event(tmp_path / "missing.json").returncode == 2
    assert "no event with this identifier" in auditor.prove("no-such-event", proof).stderr
