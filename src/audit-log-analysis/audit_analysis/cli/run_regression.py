"""``auditflow rules regress``: a public rule set's own test events."""

from collections import Counter
from pathlib import Path

import click
import msgspec

from audit_analysis.cli.rule_paths import counted, shown
from audit_analysis.ruletools.regress import Regression, RegressionFault, cases, rule_places
from audit_analysis.sigma.load import load


@click.command("regress", short_help="Check a public rule set by its own test events.")
@click.argument(
    "directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--strict", is_flag=True, help="What cannot be read or used counts as an error.")
@click.option("--json", "as_json", is_flag=True, help="Every test with its outcome, as JSON.")
def command(directory: Path, *, strict: bool, as_json: bool) -> None:
    """Give the test events of a rule set (a checkout of SigmaHQ) to its rules; exit 1 when one
    does not match as often as its authors say.

    DIR has the rules in folders named rules*, and the events in regression_data. Rules that this
    engine cannot use, and events that are there as binary logs alone, are told and counted.
    """
    rules = load([], lateness=0, foreign=rule_places(directory))
    try:
        regression = Regression(directory, rules)
        results = [regression.run(case) for case in cases(directory)]
    except RegressionFault as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(results), indent=2))
    colours = {"differs": "red", "unreadable": "yellow", "left_out": "yellow"}
    for one in results:
        if not as_json and one.outcome in colours:
            said = click.style(one.outcome.replace("_", " "), fg=colours[one.outcome])
            click.echo(f"{shown(Path(one.info))}: {said}: {one.rule_id} {one.name}: {one.why}")
    number = Counter(one.outcome for one in results)
    click.echo(
        f"{counted(len(results), 'test')} of {counted(len(rules.rules), 'rule')}: "
        f"{number['matches']} match, {number['differs']} differ, "
        f"{number['unreadable']} cannot be read, {number['left_out']} of rules left out",
        err=True,
    )
    if number["differs"] or (strict and number["matches"] < len(results)):
        raise SystemExit(1)
