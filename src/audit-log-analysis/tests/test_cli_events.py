"""``auditflow events search``, with the real API over HTTP."""

import datetime as dt
from collections.abc import Callable, Iterator

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from src.tests.archive_server import RoleCallers, served
from src.tests.archived_events import START_MS, FolderArchive, archived, write
from structlog.testing import capture_logs

from audit_analysis.cli import events
from audit_analysis.events_api import app
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from auditflow.contract.event_search import ArchivedEventSummary
from auditflow.http.health import Health
from auditflow_local import ports

Run = Callable[..., tuple[int, str, str]]
NOW = dt.datetime.fromtimestamp(START_MS / 1000 + 7200, tz=dt.UTC)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("archive")
    found = [archived(number, user=("alice", "bob")[number % 2]) for number in range(1_200)]
    found.append(archived(1_300, event_id="x", user="\x1b[2Jmallory", host="db-\x9b1m"))
    file = write(folder / "1.parquet", found[:1_000])
    database = SearchDatabase(SearchLimits(seconds=60), folders=[folder])
    searches = ArchiveSearch(FolderArchive([file], found[1_000:]), database)
    api = app.create(searches, RoleCallers(), Health({}), CollectorRegistry(), now=lambda: NOW)
    with (
        capture_logs(),
        served(api, port=ports.pick()) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("API_TOKEN", "viewer")

        def search(*arguments: str) -> tuple[int, str, str]:
            result = CliRunner().invoke(
                events.events,
                ["search", "--url", url, "--since", "2026-03-01T00:00:00Z", "--until",
                 "2026-03-02T00:00:00Z", *arguments],
            )  # fmt: skip
            return result.exit_code, result.stdout, result.stderr

        yield search


def test_all_pages_are_printed_in_order(run: Run) -> None:
    code, output, errors = run("--json", "--limit", "1100", "--oldest-first")
    assert (code, errors) == (
        0, "1100 events; there are more: use --limit or a shorter time range\n",
    )  # fmt: skip
    found = msgspec.json.Decoder(ArchivedEventSummary).decode_lines(output.encode())
    assert [event.event_id for event in found] == [f"e{number:05}" for number in range(1_100)]


def test_fields_text_and_conditions_select_events(run: Run) -> None:
    code, output, _ = run("E0000", "--field", "user=bob", "--where", "!event_id=e00003", "--json")
    assert code == 0
    found = msgspec.json.Decoder(ArchivedEventSummary).decode_lines(output.encode())
    assert [event.event_id for event in found] == ["e00009", "e00007", "e00005", "e00001"]
    assert run("--refused")[1:] == ("", "0 events\n")


def test_the_table_has_no_control_sequences(run: Run) -> None:
    code, output, errors = run("--limit", "2")
    assert (code, errors[:8]) == (0, "2 events")
    lines = output.splitlines()
    assert len(lines) == 2
    assert "mallory" in lines[0]
    assert lines[1].startswith("2026-03-01T12:19:59.000+00:00  auditflow     user_login")
    assert all(line.isprintable() for line in lines)


def test_invalid_input_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is not NAME=VALUE" in run("--field", "colour=red")[2]
    assert "given twice" in run("--field", "user=a", "--field", "user=b")[2]
    assert "answer 400" in run("--where", "user|like=a")[2]
    monkeypatch.setenv("API_TOKEN", "nobody")
    assert "answer 401" in run()[2]
    monkeypatch.delenv("API_TOKEN")
    assert "API_TOKEN is missing" in run()[2]
