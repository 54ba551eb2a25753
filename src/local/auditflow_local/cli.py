"""Command line `auditflow-local`: `make up`, `make down` and the related targets call it."""

import shutil
import sys
import time
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from auditflow_local import logs, packages, panel, programs, running, state, status
from auditflow_local.errors import LocalError
from auditflow_local.layout import PORTS, Choices, Layout
from auditflow_local.servers import unprivileged
from auditflow_local.services import SERVICES

#: Maximum time for the stack to stop.
_STOP_SECONDS: Final = 45.0
_NAMES: Final = (
    "rabbitmq",
    "postgres",
    "redis",
    *(service.name for service in SERVICES),
    *status.MONITORING,
    "stack",
)


class _Group(click.Group):
    """Prints errors of this package as a message, without a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except LocalError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Group, epilog=f"Ports: {', '.join(choice.variable for choice in PORTS)}.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".auditflow"),
    show_default=True,
    help="Folder for data, logs and secrets.",
)
@click.pass_context
def main(context: click.Context, directory: Path) -> None:
    """Run AuditFlow on this machine, without a cluster."""
    context.obj = Layout(directory.resolve())


@main.command()
@click.option(
    "--detach", "-d", is_flag=True, help="Run in the background; return when everything is ready."
)
@click.pass_obj
def up(layout: Layout, detach: bool) -> None:
    """Start everything. Ctrl-C stops it."""
    console = _console()
    choices = Choices.read()
    with state.lock(layout) as acquired:
        if not acquired:
            _already_up(console, layout)
            return
        if not detach:
            sys.exit(running.run(layout, choices, console))
    ports = running.detach(layout, console)
    panel.show(console, layout, ports, detached=True, tls=choices.tls)


@main.command()
@click.option("--tests", is_flag=True, help="Also install the packages of the tests.")
def install(tests: bool) -> None:
    """Install the missing system packages."""
    wanted = (
        *packages.SERVERS,
        *(packages.TESTS if tests else ()),
    )
    if missing := packages.missing(wanted):
        click.echo(f" • installing {', '.join(package.name for package in missing)}")
        packages.ensure(wanted)
    if tests and (unbuilt := programs.missing()):
        names = ", ".join(program.name for program in unbuilt)
        click.echo(f" • building {names} and downloading Checkov")
        for program in unbuilt:
            programs.build(program)
        programs.download_checkov()


@main.command()
@click.pass_obj
def down(layout: Layout) -> None:
    """Stop everything. The data are kept."""
    current = state.State.read(layout)
    if current:
        click.echo(f"stopping AuditFlow (process {current.pid})")
        running.request_stop(current)
        if not state.wait_until_unlocked(layout, seconds=_STOP_SECONDS):
            raise LocalError(f"process {current.pid} did not stop in {_STOP_SECONDS:.0f} s")
    leftover = state.stop_leftovers(layout)
    for name in leftover:
        click.echo(f"stopped {name}, a process of an earlier run")
    click.echo("stopped" if current or leftover else "AuditFlow is not running")


@main.command()
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def reset(layout: Layout, yes: bool) -> None:
    """Delete all data, secrets and logs. The next `up` starts with empty servers."""
    with state.lock(layout) as acquired:
        if not acquired:
            raise LocalError("AuditFlow is running; stop it first with `make down`")
        state.stop_leftovers(layout)
        if not yes:
            if not sys.stdin.isatty():
                raise LocalError("this deletes all data; confirm with --yes (make reset YES=1)")
            click.confirm(f"Delete all events, alerts and secrets in {layout.root}?", abort=True)
        unprivileged.remove(layout.server("postgres") / "cluster")
        # The other folders hold the tools of `make`, not data.
        for name in ("servers", "secrets", "receiver-secrets", "routes", "logs", "run"):
            shutil.rmtree(layout.root / name, ignore_errors=True)
        layout.environment.unlink(missing_ok=True)
    click.echo("all data were deleted")


@main.command("logs")
@click.argument("names", nargs=-1, metavar="[SERVICE]...", type=click.Choice(_NAMES))
@click.option("--follow", "-f", is_flag=True, help="Print new lines as they are written.")
@click.option("--lines", "-n", default=20, show_default=True, help="Number of lines per log.")
@click.pass_obj
def logs_(layout: Layout, names: tuple[str, ...], follow: bool, lines: int) -> None:
    """Show the logs of all or of some components."""
    console = _console()
    files = {name: layout.log(name) for name in names or _NAMES}
    for name, line in logs.tail(files, lines):
        console.print(logs.pretty(name, line))
    if follow:
        try:
            for name, line in logs.follow(files):
                console.print(logs.pretty(name, line))
        except KeyboardInterrupt:
            return


@main.command("status")
@click.pass_obj
def status_(layout: Layout) -> None:
    """Show the state of each component. The exit code is 1 if one is not ready."""
    current = state.State.read(layout)
    rows = status.rows(
        layout,
        current.ports if current else Choices.read().ports,
        tls=current.tls if current else False,
    )
    _console().print(status.table(rows))
    if current is None:
        click.echo("AuditFlow is not running; `make up` starts it")
    if not all(row.ready for row in rows):
        sys.exit(1)


def _console() -> Console:
    # Without a terminal, rich assumes a width of 80 columns.
    width = None if sys.stdout.isatty() else 120
    return Console(highlight=False, soft_wrap=True, width=width)


def _already_up(console: Console, layout: Layout) -> None:
    current = state.State.read(layout)
    while current and current.phase == "starting":
        time.sleep(0.2)
        current = state.State.read(layout)
    if current is None or current.phase != "ready":
        raise LocalError("AuditFlow is stopping; try again when it has stopped")
    console.print(f"AuditFlow is already running (process {current.pid}).")
    panel.show(console, layout, current.ports, detached=True, tls=current.tls)
