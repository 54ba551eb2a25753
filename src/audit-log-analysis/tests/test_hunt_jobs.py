"""Hunts of the archive process: the API, the queue, the process of a hunt, and its end."""

import asyncio
import datetime as dt
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg2
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from quart import Quart
from src.tests.archive_server import RoleCallers, served
from src.tests.archived_events import START_MS, write
from structlog.testing import capture_logs

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.manifest import Manifest
from audit_analysis.cli import hunt as hunt_cli
from audit_analysis.cli import rule_paths
from audit_analysis.events_api import app as events_app
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.hunt import archive_hunt
from audit_analysis.hunt.file_archive import FileArchive
from audit_analysis.hunt.jobs import HUNTS, HuntJobs
from audit_analysis.hunt.runner import HuntLimits, HuntRunner, TooManyHunts
from auditflow.amqp import Message
from auditflow.contract.finding import Finding
from auditflow.contract.hunts import Hunt, HuntList, HuntState
from auditflow.errors import Unavailable
from auditflow.http.health import Health
from auditflow_local import ports
from auditflow_local.servers.postgres_roles import ARCHIVE

from .hunted_events import (
    BLOCKED,
    FILED,
    PENDING,
    RULE,
    SINCE,
    UNTIL,
    Eventually,
    MakeRunner,
    ended,
    findings_of,
    request,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module", autouse=True)
def environment(postgres: Any, folder: Path) -> Iterator[None]:
    """An archive with a file, and the environment of the process of a hunt."""
    database = postgres.fresh_database()
    file = write(folder / "1.parquet", FILED)
    manifest = Manifest(lambda: psycopg2.connect(database.dsn(ARCHIVE)))
    manifest.migrate()
    times = (file.min_occurred_ms, file.max_occurred_ms + 10)
    hour = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    manifest.commit(
        [
            ArchiveFile(
                "1.parquet", "volume", hour, "other", len(FILED), 1, *times, *times, bytes(32)
            )
        ],
        [],
    )
    manifest.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHIVE_FOLDER", str(folder))
        patch.setenv("ENVIRONMENT", "test")
        patch.setenv("PG_HOST", postgres.host)
        patch.setenv("PG_PORT", str(postgres.port))
        patch.setenv("PG_DB", database.name)
        patch.setenv("PG_USER", ARCHIVE)
        patch.setenv("PG_PASSWORD", postgres.password_of(ARCHIVE))
        yield


@pytest.fixture
def make_runner(folder: Path, tmp_path: Path) -> Iterator[MakeRunner]:
    started: list[HuntRunner] = []
    hunts = folder / HUNTS / uuid.uuid4().hex

    def make(
        publish: Callable[[Sequence[Message], float], None] | None = None, **changes: Any
    ) -> HuntRunner:
        def refuse(messages: Sequence[Message], seconds: float) -> None:
            raise AssertionError("nothing must be published")

        runner = HuntRunner(
            HuntJobs(hunts), pending=lambda: PENDING, publish=publish or refuse, retry_seconds=0.05,
            **changes,
        )  # fmt: skip
        started.append(runner)
        runner.start()
        return runner

    yield make
    for runner in started:
        runner.stop()


def test_a_hunt_reads_files_and_events_that_are_in_no_file(
    make_runner: MakeRunner, eventually: Eventually, tmp_path: Path
) -> None:
    runner = make_runner()
    hunt = ended(runner, runner.submit(request(), caller="lead"), eventually)
    assert (hunt.state, hunt.error, hunt.findings) == (HuntState.COMPLETED, None, 2)
    found = findings_of(runner, hunt)
    assert {(finding.actor, finding.count) for finding in found} == {("alice", 6), ("bob", 6)}
    assert {(finding.environment, finding.retro) for finding in found} == {("test", True)}
    # The identifiers are those of the same hunt in a file.
    write(tmp_path / "all.parquet", [*FILED, *PENDING])
    rules = rule_paths.load_or_exit([rule_paths.SHIPPED_RULES], lateness=900_000)
    chosen = rules.select([rule.ref.id for rule in rules.rules if rule.ref.title == RULE])
    database = SearchDatabase(SearchLimits(seconds=60), folders=[tmp_path])
    expected = archive_hunt.run(
        chosen, FileArchive([tmp_path]), database, since_ms=START_MS, until_ms=START_MS + 10**7
    )
    assert {finding.finding_id for finding in found} == {
        finding.finding_id for finding in expected.findings
    }


def test_rules_of_the_request_are_used(make_runner: MakeRunner, eventually: Eventually) -> None:
    rule = """
title: Any login of Bob
id: 6a6f7f10-2c0b-4f6b-9d0e-5d2a0b7f8a11
status: test
logsource: {product: auditflow}
detection: {bob: {user_id: bob}, condition: bob}
level: low
auditflow: {group-by: [user_id]}
"""
    runner = make_runner()
    hunt = ended(runner, runner.submit(request(rule=None, rules=rule), caller="lead"), eventually)
    assert (hunt.error, hunt.candidates) == (None, 6)
    broken = runner.submit(request(rule=None, rules="title: [\n"), caller="lead")
    unknown = runner.submit(request(rule="no such rule"), caller="lead")
    assert "cannot be used" in str(ended(runner, broken, eventually).error)
    assert "no rule with the id" in str(ended(runner, unknown, eventually).error)


def test_findings_are_published_until_the_broker_has_them(
    make_runner: MakeRunner, eventually: Eventually
) -> None:
    attempts: list[list[Message]] = []

    def publish(messages: Sequence[Message], seconds: float) -> None:
        attempts.append(list(messages))
        if len(attempts) < 3:
            raise Unavailable("rabbitmq", "no confirm")

    runner = make_runner(publish)
    hunt = ended(runner, runner.submit(request(publish=True), caller="lead"), eventually)
    assert (hunt.state, hunt.published, len(attempts)) == (HuntState.COMPLETED, 2, 3)
    assert attempts[0] == attempts[2]
    ids = {str(finding.finding_id) for finding in findings_of(runner, hunt)}
    assert {message.message_id for message in attempts[2]} == ids
    assert {message.routing_key for message in attempts[2]} == {"finding.critical"}


def test_too_many_findings_are_not_published(
    make_runner: MakeRunner, eventually: Eventually
) -> None:
    runner = make_runner(limits=HuntLimits(published=1))
    hunt = ended(runner, runner.submit(request(publish=True), caller="lead"), eventually)
    assert (hunt.state, hunt.published, hunt.findings) == (HuntState.COMPLETED, 0, 2)
    assert hunt.error == "more than 1 findings are not published"


def test_a_hunt_is_cancelled_and_has_a_deadline(
    make_runner: MakeRunner, eventually: Eventually
) -> None:
    runner = make_runner(command=BLOCKED, limits=HuntLimits(waiting=2))
    running = runner.submit(request(), caller="lead")
    waiting = runner.submit(request(), caller="lead")
    with pytest.raises(TooManyHunts):
        runner.submit(request(), caller="lead")
    eventually(lambda: state_of(runner, running) is HuntState.RUNNING, what="the start")
    assert state_of(runner, waiting) is HuntState.WAITING
    runner.cancel(waiting.hunt_id)
    assert state_of(runner, waiting) is HuntState.CANCELLED
    runner.cancel(running.hunt_id)
    assert ended(runner, running, eventually).state is HuntState.CANCELLED
    runner.stop()
    limited = make_runner(command=BLOCKED, limits=HuntLimits(seconds=0.1))
    hunt = ended(limited, limited.submit(request(), caller="lead"), eventually)
    assert (hunt.state, hunt.error) == (HuntState.FAILED, "no result within 0.1 s")


def state_of(runner: HuntRunner, hunt: Hunt) -> HuntState | None:
    found = runner.get(hunt.hunt_id)
    return found.state if found else None


def test_a_process_that_ends_without_a_result_fails_the_hunt(
    make_runner: MakeRunner, eventually: Eventually
) -> None:
    command = (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    runner = make_runner(command=command)
    hunt = ended(runner, runner.submit(request(), caller="lead"), eventually)
    assert hunt.state is HuntState.FAILED
    assert "ended with -9" in str(hunt.error)


def test_the_memory_of_a_hunt_is_limited(
    make_runner: MakeRunner, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys, audit_analysis.hunt.process as p\n"
        "p._run = lambda *_: bytearray(1 << 30)\n"
        "p.main()"
    )
    runner = make_runner(command=(sys.executable, "-c", code))
    hunt = ended(runner, runner.submit(request(), caller="lead"), eventually)
    assert hunt.error == "the hunt needs more memory than its limit"


#: A process with a runner, whose hunt never has a result. It is killed.
KILLED = """
import sys, threading
from pathlib import Path
from audit_analysis.hunt.jobs import HuntJobs
from audit_analysis.hunt.runner import HuntRunner
runner = HuntRunner(HuntJobs(Path(sys.argv[1])), pending=lambda: (), publish=lambda *_: None,
                    command=(sys.executable, "-c", "import sys; sys.stdin.read()"))
runner.start()
threading.Event().wait()
"""


def test_a_hunt_continues_after_the_archive_process_was_killed(
    make_runner: MakeRunner, eventually: Eventually, folder: Path
) -> None:
    first = make_runner(command=BLOCKED)
    hunt = first.submit(request(), caller="lead")
    eventually(lambda: state_of(first, hunt) is HuntState.RUNNING, what="the start")
    first.stop()
    (jobs,) = [
        path.parent for path in folder.rglob("hunt.json") if path.parent.name == str(hunt.hunt_id)
    ]
    with subprocess.Popen([sys.executable, "-c", KILLED, str(jobs.parent)]) as process:
        eventually(lambda: starts_of(jobs) == 1, what="the second start")
        process.send_signal(signal.SIGKILL)
    second = make_runner()
    found = ended(second, hunt, eventually)
    assert (found.state, found.findings, found.starts) == (HuntState.COMPLETED, 2, 2)
    assert not (jobs / "checkpoint").exists()


def starts_of(job: Path) -> int:
    return msgspec.json.decode((job / "hunt.json").read_bytes(), type=Hunt).starts


def test_old_hunts_are_deleted(
    make_runner: MakeRunner, eventually: Eventually, folder: Path
) -> None:
    runner = make_runner(command=BLOCKED, limits=HuntLimits(seconds=0, kept=2))
    hunts = [runner.submit(request(), caller="lead") for _ in range(4)]
    eventually(lambda: len(runner.all()) == 2, what="two hunts")
    assert [hunt.hunt_id for hunt in runner.all()] == [hunts[3].hunt_id, hunts[2].hunt_id]
    assert not list(folder.rglob(str(hunts[0].hunt_id)))


@pytest.fixture
def api(make_runner: MakeRunner, folder: Path) -> Quart:
    class NoArchive:
        def snapshot(self, **_: Any) -> Any:
            raise AssertionError

        def snapshot_of_event(self, event_id: str) -> Any:
            raise AssertionError

    searches = ArchiveSearch(
        NoArchive(), SearchDatabase(SearchLimits(seconds=60), folders=[folder])
    )
    return events_app.create(
        searches, RoleCallers(), Health({}), CollectorRegistry(), hunts=make_runner()
    )


async def call(
    api: Quart, method: str, path: str, role: str, body: Any = None
) -> tuple[int, bytes]:
    data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
    client = api.test_client()
    send = client.post if method == "POST" else client.get
    answer = await send(path, data=data, headers={"Authorization": f"Bearer {role}"})
    return answer.status_code, bytes(await answer.get_data(as_text=False))


def test_the_api_starts_and_shows_hunts(api: Quart, eventually: Eventually) -> None:
    def ask(method: str, path: str, role: str, body: Any = None) -> tuple[int, bytes]:
        return asyncio.run(call(api, method, f"/api/v1/hunts{path}", role, body))

    body_of_request = {"rule": RULE, "since": SINCE, "until": UNTIL}
    assert ask("POST", "", "analyst", body_of_request)[0] == 403
    status, body = ask("POST", "", "lead", body_of_request)
    assert status == 202
    hunt = msgspec.json.decode(body, type=Hunt)
    assert hunt.created_by == "the lead"

    def shown() -> Hunt:
        return msgspec.json.decode(ask("GET", f"/{hunt.hunt_id}", "viewer")[1], type=Hunt)

    eventually(lambda: shown().state.is_final, what="the end of the hunt", seconds=60)
    assert (shown().findings, shown().total_events) == (2, len(FILED) + len(PENDING))
    status, body = ask("GET", "", "viewer")
    assert [item.hunt_id for item in msgspec.json.decode(body, type=HuntList).hunts] == [
        hunt.hunt_id
    ]
    assert ask("GET", f"/{hunt.hunt_id}/findings", "viewer")[0] == 403
    status, body = ask("GET", f"/{hunt.hunt_id}/findings", "analyst")
    assert (status, body.count(b"\n")) == (200, 2)
    assert ask("POST", f"/{hunt.hunt_id}/cancel", "analyst")[0] == 403
    assert ask("POST", f"/{hunt.hunt_id}/cancel", "lead")[0] == 200
    assert shown().state is HuntState.COMPLETED
    unknown = uuid.uuid4()
    for method, path in (("GET", ""), ("GET", "/findings"), ("POST", "/cancel")):
        assert ask(method, f"/{unknown}{path}", "lead")[0] == 404


def test_the_command_waits_for_the_findings(
    api: Quart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "admin")
    with capture_logs(), served(api, port=ports.pick()) as url:

        def run(rule: str, *options: str) -> tuple[int, str, str]:
            arguments = [
                rule, "--url", url, "--since", SINCE.isoformat(), "--until", UNTIL.isoformat(),
                *options,
            ]  # fmt: skip
            result = CliRunner().invoke(hunt_cli.command, arguments)
            return result.exit_code, result.stdout, result.stderr

        code, output, errors = run(RULE, "--json")
        assert code == 0, errors
        found = msgspec.json.Decoder(Finding).decode_lines(output.encode())
        assert sorted(finding.count for finding in found) == [6, 6]
        assert f"{len(FILED) + len(PENDING)} events" in errors
        file = tmp_path / "rule.yml"
        file.write_text("title: [")
        code, _, errors = run(str(file))
        assert (code, "the hunt failed: the rules cannot be used" in errors) == (1, True)
        monkeypatch.setenv("API_TOKEN", "analyst")
        assert "requires the role lead" in run(RULE)[2]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[1", {"since": SINCE}, {"rule": "a", "rules": "b", "since": SINCE},
        {"rule": RULE}, {"rule": RULE, "since": "2026-01-01T00:00:00"}, {"rule": "", "since": SINCE},
        {"rule": RULE, "since": UNTIL, "until": SINCE}, {"rule": RULE, "since": SINCE, "x": 1},
        {"rule": RULE, "since": "1969-01-01T00:00:00Z"},
        {"rule": RULE, "since": SINCE, "until": "9999-12-31T23:59:59-14:00"},
        {"rules": "x" * 200_001, "since": SINCE}, b"[" * 100_000,
    ],
)  # fmt: skip
def test_invalid_requests_are_refused(api: Quart, body: Any) -> None:
    status, answer = asyncio.run(call(api, "POST", "/api/v1/hunts", "lead", body))
    assert status == 400
    assert msgspec.json.decode(answer)["errors"]
