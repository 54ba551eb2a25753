"""Shared by the commands: the paths of rules as arguments, loading, and output of faults."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click

import audit_analysis
from audit_analysis.sigma.documents import TESTS
from audit_analysis.sigma.errors import RuleErrors
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet

#: The shipped rules.
SHIPPED_RULES: Final = Path(audit_analysis.__file__).parent / "rules"

_path = click.Path(exists=True, path_type=Path)


def argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument ``[PATH]...``: files and folders of rules. Default: the shipped rules."""
    return click.argument(
        "paths", metavar="[PATH]...", nargs=-1, type=_path, callback=_or_shipped_rules
    )(command)


def option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option ``--rules PATH``, for commands with other arguments."""
    return click.option(
        "--rules",
        "paths",
        metavar="PATH",
        multiple=True,
        type=_path,
        callback=_or_shipped_rules,
        help="A file or folder of rules. Can be repeated.  [default: the shipped rules]",
    )(command)


def foreign(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option ``--foreign PATH``: rules of which some may be unsupported."""
    return click.option(
        "--foreign",
        metavar="PATH",
        multiple=True,
        type=_path,
        help="A file or folder of foreign rules, such as a checkout of SigmaHQ. Rules with faults "
        "are skipped. Can be repeated.",
    )(command)


def load_or_exit(paths: Sequence[Path], *, lateness: int, foreign: Sequence[Path] = ()) -> RuleSet:
    """Load the rules. Prints all faults of ``paths`` and exits if there are any.

    ``lateness`` is in milliseconds.
    """
    try:
        return load(rule_files(paths), lateness=lateness, foreign=foreign)
    except RuleErrors as error:
        for fault in error.faults:
            click.echo(f"{relative(fault.path)}:{fault.line}: {fault.message}", err=True)
        raise click.ClickException(
            f"the rules cannot be used: {plural(len(error.faults), 'error')}"
        ) from None


def rule_files(paths: Iterable[Path]) -> list[Path]:
    """The paths, with each test file replaced by its rule file."""
    return [_rules_of(path) or path for path in paths]


def relative(path: Path) -> str:
    """A path relative to the working directory, if it is inside of it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def plural(number: int, noun: str) -> str:
    """A number with a noun in singular or plural: "1 rule", "2 rules"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _rules_of(tests: Path) -> Path | None:
    if not tests.name.endswith(TESTS):
        return None
    return tests.with_name(tests.name.removesuffix(TESTS) + ".yml")


def _or_shipped_rules(_: click.Context, __: click.Parameter, given: tuple[Path, ...]) -> list[Path]:
    return list(given) or [SHIPPED_RULES]
