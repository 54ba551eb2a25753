"""``auditflow rules regress``: runs the test events of a public rule set."""

from collections import Counter
from pathlib import Path

import click
import msgspec

from audit_analysis.cli.rule_paths import plural, relative
from audit_analysis.ruletools.regress import Case, Regression, RegressionFault, cases, rule_paths
from audit_analysis.sigma.load import load


@click.command("regress", short_help="Run the test events of a public rule set.")
@click.argument(
    "directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--strict", is_flag=True, help="Treat unreadable events and skipped rules as errors.")
@click.option("--json", "as_json", is_flag=True, help="Print each test with its result as JSON.")
def command(directory: Path, *, strict: bool, as_json: bool) -> None:
    """Run the test events of a rule set, such as a checkout of SigmaHQ, through its rules. Exits
    with 1 if a rule matches fewer events than its authors expect.

    DIR contains the rules in folders named rules*, and the events in regression_data. Rules that
    this engine does not support, and events in binary logs only, are listed and counted.
    """
    rules = load([], lateness=0, foreign=rule_paths(directory))
    try:
        regression = Regression(directory, rules)
        results = [
            regression.run(case) if isinstance(case, Case) else case for case in cases(directory)
        ]
    except RegressionFault as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(results), indent=2))
    colours = {"differs": "red", "unreadable": "yellow", "left_out": "yellow"}
    for result in results:
        if not as_json and result.outcome in colours:
            outcome = click.style(result.outcome.replace("_", " "), fg=colours[result.outcome])
            click.echo(
                f"{relative(Path(result.info))}: {outcome}: "
                f"{result.rule_id} {result.name}: {result.reason}"
            )
    number = Counter(result.outcome for result in results)
    click.echo(
        f"{plural(len(results), 'test')} of {plural(len(rules.rules), 'rule')}: "
        f"{number['matches']} match, {number['differs']} differ, "
        f"{number['unreadable']} cannot be read, {number['left_out']} of skipped rules",
        err=True,
    )
    if number["differs"] or (strict and number["matches"] < len(results)):
        raise SystemExit(1)
