"""``auditflow rules lint``: prints all faults of rules with their locations."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from audit_analysis.cli import catalogue, rule_paths
from audit_analysis.cli.catalogue import Entry
from audit_analysis.cli.rule_paths import plural, relative
from audit_analysis.ruletools import ruletest
from audit_analysis.sigma import documents
from audit_analysis.sigma.documents import TESTS
from audit_analysis.sigma.errors import RuleErrors, RuleFault
from audit_analysis.sigma.load import load

_DETAILS: Final = re.compile(r":| \(")


@click.command("lint", short_help="Print all faults with their locations.")
@rule_paths.argument
@click.option("--strict", is_flag=True, help="Treat advice as errors.")
def command(paths: Sequence[Path], strict: bool) -> None:
    """Check rules and their tests. Exits with 1 if there is an error.

    Errors are faults that the analysis refuses. Advice concerns keys that are optional in a rule
    but that the recipient of an alert needs: level, ATT&CK tags, false positives, runbook, tests.
    """
    files = documents.files(paths)
    if not files:
        raise click.ClickException("no rule files found")
    errors = sorted([*_faults_of_rules(paths), *_faults_of_tests(files)])
    for fault in errors:
        _print(fault, click.style("error", fg="red"))
    entries = catalogue.read(files)
    advice = [
        RuleFault(entry.path, entry.line, f"{entry.title!r} {text}")
        for entry in entries
        for text in entry.advice
    ]
    _print_summary(entries)
    for fault in advice:
        _print(fault, click.style("advice", fg="yellow"))
    click.echo(
        f"{plural(len(files), 'file')}, {plural(len(entries), 'rule')}: "
        f"{plural(len(errors), 'error')}, {len(advice)} to improve",
        err=True,
    )
    if errors or (strict and advice):
        raise SystemExit(1)


def _print_summary(entries: Sequence[Entry]) -> None:
    """Print the number of rules for each kind of advice: a public rule set has thousands."""
    # The details are after a colon or in parentheses: "has no tests (a.test.yml)".
    kinds = Counter(_DETAILS.split(text)[0] for entry in entries for text in entry.advice)
    for kind, number in kinds.most_common():
        click.echo(f"{click.style('advice', fg='yellow')}: {plural(number, 'rule')}: {kind}")


def _faults_of_rules(paths: Sequence[Path]) -> list[RuleFault]:
    try:
        load(paths, lateness=0)
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


def _print(fault: RuleFault, kind: str) -> None:
    click.echo(f"{relative(fault.path)}:{fault.line}: {kind}: {fault.message}")
