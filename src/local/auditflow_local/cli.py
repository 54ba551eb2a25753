"""`auditflow-local`: what `make up`, `make down` and their like call."""

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

#: A stack that is asked to stop has this long.
_STOP_SECONDS: Final = 45.0
_NAMES: Final = (
    "rabbitmq",
    "postgres",
    "redis",
    *(service.name for service in SERVICES),
    *status.WATCHERS,
    "stack",
)


class _Group(click.Group):
    """Errors of ours are sentences, not stack traces."""

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
    help="Where data, logs and secrets are.",
)
@click.pass_context
def main(context: click.Context, directory: Path) -> None:
    """The whole of AuditFlow on this machine, without a cluster."""
    context.obj = Layout(directory.resolve())


@main.command()
@click.option("--detach", "-d", is_flag=True, help="Return when all is ready, and let it run.")
@click.pass_obj
def up(layout: Layout, detach: bool) -> None:
    """Start everything; Ctrl-C stops it again."""
    console = _console()
    choices = Choices.read()
    with state.hold(layout) as held:
        if not held:
            _already_up(console, layout)
            return
        if not detach:
            sys.exit(running.run(layout, choices, console))
    ports = running.detach(layout, console)
    panel.show(console, layout, ports, detached=True)


@main.command()
@click.option("--tests", is_flag=True, help="Also what only tests need: the browser and the like.")
def install(tests: bool) -> None:
    """Install the system's packages that are missing."""
    wanted = (
        *packages.SERVERS,
        *(
            (*packages.BROWSER, *packages.PROMETHEUS, *packages.ALERTMANAGER, *packages.RCLONE)
            if tests
            else ()
        ),
    )
    if missing := packages.missing(wanted):
        click.echo(f" • installing {', '.join(one.name for one in missing)}")
        packages.ensure(wanted)
    if tests and (unbuilt := programs.missing()):
        click.echo(f" • building {', '.join(one.name for one in unbuilt)}, and fetching Checkov")
        for one in unbuilt:
            programs.built(one)
        programs.fetch_checkov()


@main.command()
@click.pass_obj
def down(layout: Layout) -> None:
    """Stop everything; the data stay."""
    current = state.State.read(layout)
    if current:
        click.echo(f"stopping AuditFlow (process {current.pid})")
        running.ask_to_stop(current)
        if not state.wait_until_free(layout, seconds=_STOP_SECONDS):
            raise LocalError(f"process {current.pid} did not stop in {_STOP_SECONDS:.0f} s")
    left = state.end_leftovers(layout)
    for name in left:
        click.echo(f"ended {name}, which was left behind")
    click.echo("stopped" if current or left else "AuditFlow is not running")


@main.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def reset(layout: Layout, yes: bool) -> None:
    """Forget all data, secrets and logs; the next `up` starts anew."""
    with state.hold(layout) as held:
        if not held:
            raise LocalError("AuditFlow is running; stop it first, with `make down`")
        state.end_leftovers(layout)
        if not yes:
            if not sys.stdin.isatty():
                raise LocalError("this removes all data; say so with --yes (make reset YES=1)")
            click.confirm(f"Remove all events, alerts and secrets in {layout.root}?", abort=True)
        unprivileged.remove(layout.server("postgres") / "cluster")
        # What `make` keeps beside them (the tools) is no data.
        for name in ("servers", "secrets", "logs", "run"):
            shutil.rmtree(layout.root / name, ignore_errors=True)
        layout.environment.unlink(missing_ok=True)
    click.echo("all data are gone")


@main.command("logs")
@click.argument("names", nargs=-1, metavar="[SERVICE]...", type=click.Choice(_NAMES))
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written.")
@click.option("--lines", "-n", default=20, show_default=True, help="How many of each.")
@click.pass_obj
def logs_(layout: Layout, names: tuple[str, ...], follow: bool, lines: int) -> None:
    """Show logs, of all or of some."""
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
    """Show how each part is. The exit code is 1 if one is not well."""
    current = state.State.read(layout)
    rows = status.rows(layout, current.ports if current else Choices.read().ports)
    _console().print(status.table(rows))
    if current is None:
        click.echo("AuditFlow is not running; `make up` starts it")
    if not all(row.well for row in rows):
        sys.exit(1)


def _console() -> Console:
    # Without a terminal, rich would take it to be 80 columns wide.
    width = None if sys.stdout.isatty() else 120
    return Console(highlight=False, soft_wrap=True, width=width)


def _already_up(console: Console, layout: Layout) -> None:
    current = state.State.read(layout)
    while current and current.phase == "starting":
        time.sleep(0.2)
        current = state.State.read(layout)
    if current is None or current.phase != "ready":
        raise LocalError("AuditFlow is being stopped at this moment; try again when it is")
    console.print(f"AuditFlow is up already (process {current.pid}).")
    panel.show(console, layout, current.ports, detached=True)
