"""``auditflow rules test``: runs the tests of the rules."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import click

from audit_analysis.cli import rule_paths
from audit_analysis.cli.rule_paths import plural, relative
from audit_analysis.ruletools import ruletest
from audit_analysis.ruletools.ruletest import RuleTest, TestFault
from audit_analysis.sigma.documents import TESTS
from audit_analysis.sigma.rule import RuleSet

#: The default lateness of the analysis (ms), because tests also cover late events.
_LATENESS = 900_000


@click.command("test", short_help="Run the tests of the rules.")
@rule_paths.argument
@click.option("-k", "word", metavar="TEXT", help="Only tests with this text in their file or name.")
@click.option("-v", "--verbose", is_flag=True, help="Print every test, not only failed ones.")
def command(paths: Sequence[Path], word: str | None, verbose: bool) -> None:
    """Run the events of each test through all rules at PATH. Exits with 1 if a test fails.

    The tests of rule.yml are in rule.test.yml. PATH may be either file.
    """
    rules = rule_paths.load_or_exit(paths, lateness=_LATENESS)
    try:
        tests = [test for test in ruletest.collect(_test_paths(paths)) if _contains(test, word)]
    except TestFault as error:
        raise click.ClickException(str(error)) from None
    if not tests:
        raise click.ClickException("no matching tests found")
    failed = 0
    for path, group in groupby(tests, key=lambda test: test.path):
        failed += _run(path, list(group), rules, verbose)
    total = f"{plural(len(tests), 'test')} of {plural(len(rules.rules), 'rule')}"
    if failed:
        click.secho(f"{total}: {failed} failed", fg="red", bold=True)
        raise SystemExit(1)
    click.secho(f"{total}: all as expected", fg="green", bold=True)


def _run(path: Path, tests: Sequence[RuleTest], rules: RuleSet, verbose: bool) -> int:
    """Run the tests of a file and print the results. Returns the number of failed tests."""
    results = [(test, _failure(test, rules)) for test in tests]
    failures = [(test, reason) for test, reason in results if reason]
    mark = click.style("✗", fg="red") if failures else click.style("✓", fg="green")
    click.echo(f"{mark} {relative(path)} ({len(tests)})")
    for test, reason in results if verbose else failures:
        mark = click.style("✗", fg="red") if reason else click.style("✓", fg="green")
        click.echo(f"    {mark} {test.name}" + (f": {reason}" if reason else ""))
    return len(failures)


def _failure(test: RuleTest, rules: RuleSet) -> str | None:
    try:
        return test.failure(rules)
    except TestFault as error:
        return str(error)


def _test_paths(paths: Iterable[Path]) -> list[Path]:
    """The paths, with each rule file replaced by its test file."""
    return [
        path if path.is_dir() or path.name.endswith(TESTS) else path.with_name(path.stem + TESTS)
        for path in paths
    ]


def _contains(test: RuleTest, word: str | None) -> bool:
    return word is None or word.lower() in f"{test.path.stem} {test.name}".lower()
