"""``auditflow hunt`` in files of an archive."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from src.tests.archived_events import START_MS, archived, write

from audit_analysis.cli import hunt
from auditflow.contract import event
from auditflow.contract.finding import Finding

RULE = "Burst of failed logins"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    events = []
    for number in range(6):
        at_ms = START_MS + number * 1000
        record = msgspec.json.encode(
            {
                "event_id": f"e{number}", "timestamp": event.from_epoch_ms(at_ms),
                "event_type": "user_login", "action_result": "FAILURE", "user_id": "alice",
                "server_hostname": "web-01",
            }
        )  # fmt: skip
        events.append(
            archived(
                number, event_id=f"e{number}", source="other", product=None, record=record,
                action_result="FAILURE",
            )
        )  # fmt: skip
    write(tmp_path / "1.parquet", events[:3])
    write(tmp_path / "2.parquet", events[3:])
    return tmp_path


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(hunt.command, arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("since", ["2026-01-01T00:00:00Z", "520w"])
def test_findings_are_printed(folder: Path, since: str) -> None:
    code, output, errors = run(RULE, "--files", str(folder), "--since", since, "--json")
    assert code == 0, errors
    (found,) = (msgspec.json.decode(line, type=Finding) for line in output.splitlines())
    assert (found.rule.title, found.count) == (RULE, 6)
    assert "6 events" in errors
    code, output, errors = run(RULE, "--files", str(folder), "--since", since)
    assert (code, output.count("\n")) == (0, 1)


def test_a_state_file_is_deleted_at_the_end(folder: Path) -> None:
    state = folder / "state"
    code, _, _ = run(RULE, "--files", str(folder), "--since", "520w", "--state", str(state))
    assert (code, state.exists()) == (0, False)


def test_invalid_input_is_reported(folder: Path, tmp_path: Path) -> None:
    assert "no rule" in run("unknown", "--files", str(folder))[2]
    assert "no duration" in run(RULE, "--files", str(folder), "--since", "yesterday")[2]
    broken = tmp_path / "broken" / "x.parquet"
    broken.parent.mkdir()
    broken.write_bytes(b"PAR1 no")
    assert "cannot be read" in run(RULE, "--files", str(broken))[2]
    (tmp_path / "empty").mkdir()
    assert "no Parquet files" in run(RULE, "--files", str(tmp_path / "empty"))[2]


def test_files_and_publication_exclude_each_other(folder: Path) -> None:
    assert "omit --files" in run(RULE, "--files", str(folder), "--publish")[2]
