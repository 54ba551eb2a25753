"""Where rules are, and what is wrong with them, as the commands have it in common."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click

import audit_analysis
from audit_analysis.sigma.documents import TESTS
from audit_analysis.sigma.errors import RuleErrors
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet

#: The rules that come with AuditFlow.
PACK: Final = Path(audit_analysis.__file__).parent / "rules"

_path = click.Path(exists=True, path_type=Path)


def argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """``[PATH]...``: files and folders of rules; ours where none is given."""
    return click.argument(
        "places", metavar="[PATH]...", nargs=-1, type=_path, callback=_or_the_pack
    )(command)


def option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--rules PATH``: the same for a command whose arguments are something else."""
    return click.option(
        "--rules",
        "places",
        metavar="PATH",
        multiple=True,
        type=_path,
        callback=_or_the_pack,
        help="A file or folder of rules, any number of times.  [default: those of AuditFlow]",
    )(command)


def foreign(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--foreign PATH``: rules of others, of which some may be beyond this engine."""
    return click.option(
        "--foreign",
        metavar="PATH",
        multiple=True,
        type=_path,
        help="The same of others (a checkout of SigmaHQ): rules that cannot be used are left out.",
    )(command)


def loaded(places: Sequence[Path], *, lateness: int, foreign: Sequence[Path] = ()) -> RuleSet:
    """The rules at these places; what is wrong with ours ends the program, all of it said."""
    try:
        return load(rule_files(places), lateness=lateness, foreign=foreign)
    except RuleErrors as error:
        for fault in error.faults:
            click.echo(f"{shown(fault.path)}:{fault.line}: {fault.what}", err=True)
        raise click.ClickException(
            f"the rules cannot be used: {counted(len(error.faults), 'error')}"
        ) from None


def rule_files(places: Iterable[Path]) -> list[Path]:
    """The same places; a file of tests stands for the rules beside it."""
    return [beside if (beside := _rules_of(one)) else one for one in places]


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def counted(number: int, what: str) -> str:
    """A number of things, as people say it."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _rules_of(tests: Path) -> Path | None:
    if not tests.name.endswith(TESTS):
        return None
    return tests.with_name(tests.name.removesuffix(TESTS) + ".yml")


def _or_the_pack(_: click.Context, __: click.Parameter, given: tuple[Path, ...]) -> list[Path]:
    return list(given) or [PACK]
