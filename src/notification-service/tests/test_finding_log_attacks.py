"""Both verifiers detect changes of stored findings."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from auditflow.merkle.note import Signer
from auditflow_local.servers.postgres import Database
from auditflow_local.service_process import ServiceProcess
from notification_service.audit.logs import FINDINGS
from notification_service.audit.signing import SigningTask
from notification_service.database import rows
from notification_service.database.pool import Pool
from notification_service.metrics import AuditLogMetrics

SIGNER = Signer("auditflow", bytes(range(32)))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


AUDITFLOW = str(Path(sys.executable).parent / "auditflow")


VERIFIER = str(Path(__file__).parents[2] / "audit-verifier" / "verify_audit_log.py")


@pytest.fixture
def api(
    service_process: Callable[..., ServiceProcess],
    broker: Any,
    database: Database,
    service_secrets: dict[str, str],
) -> Any:
    service = service_process(
        "notification-service",
        rabbitmq=broker.server,
        database=database,
        env={"AUDIT_LOG_KEY": SIGNER.private_key()},
    )
    headers = {"Authorization": f"Bearer {service_secrets['API_TOKEN']}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client:
        yield client


def _edit(query: Any) -> None:
    query("UPDATE findings SET description = 'nothing happened' WHERE actor = 'user-7'")


def _delete(query: Any) -> None:
    query("DELETE FROM findings WHERE actor = 'user-7'")


def _reorder(query: Any) -> None:
    """Two entries change places, and so do the contents of two findings."""
    query(
        "UPDATE finding_log AS a SET entry = b.entry FROM finding_log AS b"
        " WHERE (a.number, b.number) IN ((1, 2), (2, 1))"
    )
    query(
        "UPDATE findings AS a SET description = b.description FROM findings AS b"
        " WHERE (a.actor, b.actor) IN (('user-7', 'user-8'), ('user-8', 'user-7'))"
    )


def _truncate(query: Any) -> None:
    query("DELETE FROM findings WHERE actor = 'user-9'")
    query("DELETE FROM finding_log WHERE number = (SELECT max(number) FROM finding_log)")
    query(
        "DELETE FROM merkle_checkpoints WHERE log = 'findings'"
        " AND size > (SELECT max(number) FROM finding_log)"
    )


def _rewrite(query: Any) -> None:
    """All findings and all entries are new. The service signs the entries again."""
    query("UPDATE findings SET description = 'nothing happened'")
    query("DELETE FROM merkle_checkpoints WHERE log = 'findings'")
    query("DELETE FROM merkle_tiles WHERE log = 'findings'")
    for finding_id, document in _documents(query):
        old = "SELECT number, entry FROM finding_log WHERE position(%s in entry) > 0"
        for number, entry in query(old, finding_id):
            decoded = msgspec.json.decode(entry)
            for finding in decoded["findings"]:
                if finding["finding_id"] == finding_id:
                    finding["sha256"] = _hash(document)
            changed = msgspec.json.encode(decoded).decode()
            query("UPDATE finding_log SET entry = %s WHERE number = %s", changed, number)


def _documents(query: Any) -> list[tuple[str, str]]:
    texts = query(rows.select("findings", rows.FINDING_COLUMNS))
    found = [rows.read_row(text) for (text,) in texts]
    return [
        (str(row.finding_id), rows.document_of(rows.encode_finding(row)).decode()) for row in found
    ]


_TABLES = ("findings", "finding_log", "merkle_checkpoints", "merkle_tiles")


def test_both_verifiers_detect_five_of_five_attacks_on_findings(
    api: httpx.Client,
    broker: Any,
    make_finding: Any,
    database: Database,
    open_pool: Callable[..., Pool],
    eventually: Any,
    query: Any,
    tmp_path: Path,
) -> None:
    for number in range(10):
        broker.send(make_finding(user=f"user-{number}"))
        eventually(lambda n=number: query("SELECT count(*) FROM finding_log") == [(n + 1,)])

    def signed() -> bool:
        logs = api.get("/api/v1/audit/logs").json()["logs"]
        return any((it["name"], it["size"]) == ("findings", 10) for it in logs)

    eventually(signed)
    own = _run(api, tmp_path, AUDITFLOW, "audit", "verify", "--log", "findings", "--url")
    assert own.stdout == (
        "auditflow/findings: 10 entries verified, 0 checkpoints\n"
        "10 stored findings compared; 0 of them are older than the log, or were stored without an"
        " entry\n"
    )
    other = _run(api, tmp_path, sys.executable, VERIFIER, "--log", "findings")
    assert other.stdout == (
        "10 stored findings compared\nverified: 10 entries, 1 earlier checkpoints\n"
    )
    for table in _TABLES:
        query(f"CREATE TABLE copy_of_{table} AS TABLE {table}")

    for attack in (_edit, _delete, _reorder, _truncate, _rewrite):
        attack(query)
        # a service that has restarted signs whatever it finds
        SigningTask(open_pool(database), SIGNER, FINDINGS, AuditLogMetrics(CollectorRegistry()))()
        wait = ("--log", "findings", "--wait", "0.2")
        own = _run(api, tmp_path, AUDITFLOW, "audit", "verify", *wait, "--url")
        other = _run(api, tmp_path, sys.executable, VERIFIER, *wait)
        assert (own.returncode, other.returncode) == (1, 1), (attack.__name__, own, other)
        assert "is NOT verified: " in own.stderr
        assert other.stderr.startswith("NOT VERIFIED: ")
        for table in _TABLES:
            query(f"TRUNCATE {table}")
            query(f"INSERT INTO {table} SELECT * FROM copy_of_{table}")
    own = _run(api, tmp_path, AUDITFLOW, "audit", "verify", "--log", "findings", "--url")
    assert own.returncode == 0, own.stderr


def test_only_auditors_read_the_documents(api: httpx.Client) -> None:
    body = {"name": "t", "scopes": ["alerts:read", "alerts:write"]}
    analyst = {"Authorization": f"Bearer {api.post('/api/v1/tokens', json=body).json()['secret']}"}
    path = "/api/v1/audit/findings/documents"
    assert api.get(path).json() == {"documents": [], "next_after": None}
    assert api.get(path, headers=analyst).status_code == 403
    assert api.get(path, params={"after": "x"}).status_code == 400


def _run(api: httpx.Client, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    token = api.headers["authorization"].removeprefix("Bearer ")
    return subprocess.run(
        [*command, str(api.base_url), "--key", str(SIGNER.verifier), "--checkpoints", str(folder)],
        env={**os.environ, "API_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
