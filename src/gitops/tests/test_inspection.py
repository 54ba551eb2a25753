"""Signatures and scans, with fake cosign and Trivy."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitops import bump, inspection, layout, origin, scans
from gitops.cli import main
from gitops.errors import CommandError
from gitops.inspection import NotSignedError
from gitops.scans import Finding, ScanError

from .forge import BOT, Clone, Programs, digest, release
from .stand_ins import SIGNED, cosign, report, trivy


def a_pin(number: int = 1):
    return release("notification-service", "ab" * 20, number).pin


def test_signed_image(programs: Programs, tmp_path: Path):
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
        inspection.identity(f"somebody/{origin.REPOSITORY}"),
        inspection.identity("jojees/project-genesis", "feature"),
    ],
)
def test_image_with_another_signer(programs: Programs, tmp_path: Path, signer):
    cosign(programs, SIGNED)
    trivy(programs, {1: []})
    with pytest.raises(NotSignedError, match="must not be deployed") as raised:
        inspection.inspect(a_pin(), signer=signer, reports=tmp_path)
    assert "none of the expected identities matched" in str(raised.value)


def test_failed_scan_is_an_error(programs: Programs, tmp_path: Path):
    cosign(programs, SIGNED)
    trivy(programs, {})
    with pytest.raises(CommandError, match="unable to find the image"):
        inspection.inspect(a_pin(), signer=None, reports=tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"SchemaVersion": 2, "Results": [{"Vulnerabilities": [{}]}]}']
)
def test_invalid_report_is_an_error(tmp_path: Path, content):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ScanError, match="counts as not scanned"):
        scans.read(tmp_path / "r.json")


def test_report_without_findings():
    assert scans.parse({"SchemaVersion": 2}) == ()
    assert scans.counts(()) == "none"


@pytest.mark.parametrize(
    ("severity", "fixed", "code"),
    [("CRITICAL", "2", 1), ("CRITICAL", "", 0), ("HIGH", "2", 0)],
)
def test_only_critical_findings_with_a_fix_block_a_release(tmp_path: Path, severity, fixed, code):
    file = tmp_path / "trivy.json"
    file.write_text(json.dumps(report("CVE-1", severity=severity, fixed=fixed)))
    result = CliRunner().invoke(main, ["gate", str(file)])
    assert result.exit_code == code
    assert result.output.startswith(f"trivy.json: 1 {severity.lower()}\n")
    if code:
        assert "CVE-1: a 1, fixed in 2" in result.output


def test_difference_compares_vulnerability_and_package():
    old = [Finding("CVE-1", "a", "1", "HIGH"), Finding("CVE-2", "a", "1", "LOW")]
    new = [Finding("CVE-1", "a", "2", "HIGH"), Finding("CVE-2", "b", "1", "LOW")]
    found = scans.difference(old, new)
    assert found.new == (new[1],)
    assert found.fixed == (old[1],)


def test_inspect_checks_the_running_images(bot: Clone, programs: Programs, tmp_path: Path):
    bump.bump(
        bot.repository, [release(service, bot.head, number) for number, service in enumerate(layout.SERVICES)],
        environment="prod", branch="main", identity=BOT,
    )  # fmt: skip
    bot.pull()
    command = ["-C", str(bot.directory), "inspect", "--env", "prod", "--out", str(tmp_path / "r")]
    cosign(programs, SIGNED)
    trivy(programs, {number: [] for number in range(4)})
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert result.output.count("signed; none") == 4

    # given one image with a critical vulnerability and one unsigned image
    trivy(programs, {0: [], 1: ["CVE-9"], 2: [], 3: []}, severity="CRITICAL", fixed="2")
    cosign(programs, f'case "$4" in *{digest(2)}) exit 1 ;; esac\n{SIGNED}')
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "audit-log-analysis: CVE-9" in result.output
    assert "event-audit-dashboard: not signed by this repository" in result.output


def test_inspect_of_an_environment_without_releases(bot: Clone, programs: Programs, tmp_path: Path):
    cosign(programs, SIGNED)
    trivy(programs, {})
    result = CliRunner().invoke(
        main, ["-C", str(bot.directory), "inspect", "--env", "prod", "--out", str(tmp_path)]
    )
    assert result.exit_code == 0
    assert result.output.count("not released yet") == 4
