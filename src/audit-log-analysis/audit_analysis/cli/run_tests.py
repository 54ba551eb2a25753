"""``auditflow rules test``: the tests beside the rules."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import click

from audit_analysis.cli import rule_paths
from audit_analysis.cli.rule_paths import counted, shown
from audit_analysis.ruletools import ruletest
from audit_analysis.ruletools.ruletest import RuleTest, TestFault
from audit_analysis.sigma.documents import TESTS
from audit_analysis.sigma.rule import RuleSet

#: As late as in production, since tests also show what is too late.
_LATENESS = 900_000


@click.command("test", short_help="Run the tests beside the rules.")
@rule_paths.argument
@click.option("-k", "word", metavar="TEXT", help="Only tests with this in their file or name.")
@click.option("-v", "--verbose", is_flag=True, help="Name every test, not only those that fail.")
def command(places: Sequence[Path], word: str | None, verbose: bool) -> None:
    """Send the events of each test through all rules at PATH; exit 1 when one is not as expected.

    The tests of rule.yml are in rule.test.yml; either may be named.
    """
    rules = rule_paths.loaded(places, lateness=_LATENESS)
    try:
        tests = [one for one in ruletest.collect(_with_tests(places)) if _is_about(one, word)]
    except TestFault as error:
        raise click.ClickException(str(error)) from None
    if not tests:
        raise click.ClickException("there are no such tests here")
    failed = 0
    for path, group in groupby(tests, key=lambda test: test.path):
        failed += _run(path, list(group), rules, verbose)
    total = f"{counted(len(tests), 'test')} of {counted(len(rules.rules), 'rule')}"
    if failed:
        click.secho(f"{total}: {failed} failed", fg="red", bold=True)
        raise SystemExit(1)
    click.secho(f"{total}: all as expected", fg="green", bold=True)


def _run(path: Path, tests: Sequence[RuleTest], rules: RuleSet, verbose: bool) -> int:
    """Run the tests of a file and say how they went. Returns how many failed."""
    results = [(test, _failure(test, rules)) for test in tests]
    failures = [(test, why) for test, why in results if why]
    mark = click.style("✗", fg="red") if failures else click.style("✓", fg="green")
    click.echo(f"{mark} {shown(path)} ({len(tests)})")
    for test, why in results if verbose else failures:
        mark = click.style("✗", fg="red") if why else click.style("✓", fg="green")
        click.echo(f"    {mark} {test.name}" + (f": {why}" if why else ""))
    return len(failures)


def _failure(test: RuleTest, rules: RuleSet) -> str | None:
    try:
        return test.failure(rules)
    except TestFault as error:
        return str(error)


def _with_tests(places: Iterable[Path]) -> list[Path]:
    """The places with tests: those of a rule file are in the file beside it."""
    return [
        one if one.is_dir() or one.name.endswith(TESTS) else one.with_name(one.stem + TESTS)
        for one in places
    ]


def _is_about(test: RuleTest, word: str | None) -> bool:
    return word is None or word.lower() in f"{test.path.stem} {test.name}".lower()
