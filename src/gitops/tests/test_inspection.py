"""Signatures and scans, with programs that stand for cosign and Trivy."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitops import bump, inspection, layout, scans
from gitops.cli import main
from gitops.errors import CommandError
from gitops.inspection import NotSignedError
from gitops.scans import Finding, ScanError

from .forge import BOT, Clone, Programs, digest, release
from .stand_ins import SIGNED, cosign, report, trivy


def a_pin(number: int = 1):
    return release("notification-service", "ab" * 20, number).pin


def test_an_image_of_ours(programs: Programs, tmp_path: Path):
    cosign(programs, SIGNED)
    trivy(programs, {1: ["CVE-1"]})
    signer = inspection.identity("jojees/project-genesis")
    found = inspection.inspect(a_pin(), signer=signer, reports=tmp_path / "r")
    assert found.signed
    assert found.findings == (Finding("CVE-1", "a", "1", "HIGH"),)
    assert [file.name for file in (tmp_path / "r").iterdir()] == [
        f"notification-service-{1:064x}.json"
    ]


@pytest.mark.parametrize(
    "signer",
    [
        inspection.identity("somebody/project-genesis"),
        inspection.identity("jojees/project-genesis", "feature"),
    ],
)
def test_an_image_of_somebody_else(programs: Programs, tmp_path: Path, signer):
    cosign(programs, SIGNED)
    trivy(programs, {1: []})
    with pytest.raises(NotSignedError, match="must not be deployed") as raised:
        inspection.inspect(a_pin(), signer=signer, reports=tmp_path)
    assert "none of the expected identities matched" in str(raised.value)


def test_a_scan_that_could_not_be_made_is_no_clean_one(programs: Programs, tmp_path: Path):
    cosign(programs, SIGNED)
    trivy(programs, {})
    with pytest.raises(CommandError, match="unable to find the image"):
        inspection.inspect(a_pin(), signer=None, reports=tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"SchemaVersion": 2, "Results": [{"Vulnerabilities": [{}]}]}']
)
def test_a_report_that_is_none_is_no_clean_one(tmp_path: Path, content):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ScanError, match="nothing is known"):
        scans.read(tmp_path / "r.json")


def test_no_findings_are_a_clean_one():
    assert scans.parse({"SchemaVersion": 2}) == ()
    assert scans.counts(()) == "none"


@pytest.mark.parametrize(
    ("severity", "fixed", "code"),
    [("CRITICAL", "2", 1), ("CRITICAL", "", 0), ("HIGH", "2", 0)],
)
def test_only_what_is_critical_and_can_be_mended_stops(tmp_path: Path, severity, fixed, code):
    file = tmp_path / "trivy.json"
    file.write_text(json.dumps(report("CVE-1", severity=severity, fixed=fixed)))
    done = CliRunner().invoke(main, ["gate", str(file)])
    assert done.exit_code == code
    assert done.output.startswith(f"trivy.json: 1 {severity.lower()}\n")
    if code:
        assert "CVE-1: a 1, mended in 2" in done.output


def test_differences_are_by_vulnerability_and_package():
    old = [Finding("CVE-1", "a", "1", "HIGH"), Finding("CVE-2", "a", "1", "LOW")]
    new = [Finding("CVE-1", "a", "2", "HIGH"), Finding("CVE-2", "b", "1", "LOW")]
    found = scans.difference(old, new)
    assert found.new == (new[1],)
    assert found.gone == (old[1],)


def test_what_runs_is_looked_at_again(bot: Clone, programs: Programs, tmp_path: Path):
    bump.bump(
        bot.repository, [release(service, bot.head, number) for number, service in enumerate(layout.SERVICES)],
        environment="prod", branch="main", identity=BOT,
    )  # fmt: skip
    bot.pull()
    command = ["-C", str(bot.directory), "inspect", "--env", "prod", "--out", str(tmp_path / "r")]
    cosign(programs, SIGNED)
    trivy(programs, {number: [] for number in range(4)})
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert done.output.count("signed; none") == 4

    # one became known to be broken, and one is not ours
    trivy(programs, {0: [], 1: ["CVE-9"], 2: [], 3: []}, severity="CRITICAL", fixed="2")
    cosign(programs, f'case "$4" in *{digest(2)}) exit 1 ;; esac\n{SIGNED}')
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert "audit-log-analysis: CVE-9" in done.output
    assert "event-audit-dashboard: not signed by us" in done.output


def test_an_environment_with_nothing_released(bot: Clone, programs: Programs, tmp_path: Path):
    cosign(programs, SIGNED)
    trivy(programs, {})
    done = CliRunner().invoke(
        main, ["-C", str(bot.directory), "inspect", "--env", "prod", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0
    assert done.output.count("not released yet") == 4
