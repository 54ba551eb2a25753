"""``auditflow rules lint``: everything that is wrong, each with its place."""

from collections.abc import Sequence
from pathlib import Path

import click

from audit_analysis.cli import catalogue, rule_paths
from audit_analysis.cli.rule_paths import counted, shown
from audit_analysis.ruletools import ruletest
from audit_analysis.sigma import documents
from audit_analysis.sigma.documents import TESTS
from audit_analysis.sigma.errors import RuleErrors, RuleFault
from audit_analysis.sigma.load import load


@click.command("lint", short_help="Name everything that is wrong, with its place.")
@rule_paths.argument
@click.option("--strict", is_flag=True, help="Advice counts as an error.")
def command(places: Sequence[Path], strict: bool) -> None:
    """Check rules and the tests beside them; exit 1 when something is wrong.

    An error is what the analysis would refuse to load. Advice is what a rule can do without, and
    whoever is woken by it cannot: a level, ATT&CK tags, false positives, a runbook, tests.
    """
    files = documents.files(places)
    if not files:
        raise click.ClickException("there are no rule files here")
    errors = sorted([*_faults_of_rules(places), *_faults_of_tests(files)])
    for fault in errors:
        _say(fault, click.style("error", fg="red"))
    entries = catalogue.read(files)
    advice = [
        RuleFault(one.path, one.line, f"{one.title!r} {what}")
        for one in entries
        for what in one.advice
    ]
    for fault in advice:
        _say(fault, click.style("advice", fg="yellow"))
    click.echo(
        f"{counted(len(files), 'file')}, {counted(len(entries), 'rule')}: "
        f"{counted(len(errors), 'error')}, {len(advice)} to improve",
        err=True,
    )
    if errors or (strict and advice):
        raise SystemExit(1)


def _faults_of_rules(places: Sequence[Path]) -> list[RuleFault]:
    try:
        load(places, lateness=0)
    except RuleErrors as error:
        return error.faults
    return []


def _faults_of_tests(files: Sequence[Path]) -> list[RuleFault]:
    faults = []
    for path in files:
        tests = path.with_name(path.stem + TESTS)
        if tests.is_file():
            try:
                ruletest.read(tests)
            except ruletest.TestFault as error:
                faults.append(RuleFault(tests, 1, str(error).removeprefix(f"{tests}: ")))
    return faults


def _say(fault: RuleFault, kind: str) -> None:
    click.echo(f"{shown(fault.path)}:{fault.line}: {kind}: {fault.what}")
