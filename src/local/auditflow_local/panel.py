"""The summary that is printed when everything is ready: addresses and next steps."""

from collections.abc import Mapping

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from auditflow_local import services
from auditflow_local.layout import Layout
from auditflow_local.servers import prometheus


def ready(
    layout: Layout, ports: Mapping[str, int], *, detached: bool, tls: bool = False
) -> RenderableType:
    """Return the summary. It names the files of passwords and tokens, and never their contents."""
    dashboard, api, ingest, analysis = (
        f"{'https' if tls else 'http'}://localhost:{ports[service.name]}"
        for service in (
            services.DASHBOARD,
            services.NOTIFICATION,
            services.GENERATOR,
            services.ANALYSIS,
        )
    )
    environment = layout.relative(layout.environment)
    secrets = layout.relative(layout.secrets)
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="bold", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, text in (
        ("Dashboard", dashboard),
        ("  user", services.DASHBOARD_USER),
        ("  password", f"cat {secrets}/DASHBOARD_PASSWORD"),
        ("Inbox", f"http://localhost:{ports['inbox']}   the notifications that were sent"),
        ("  routes", layout.relative(layout.routes / "routes.yaml")),
        ("API", f"{api}/alerts   pages: {api}/docs   {api}/openapi.json"),
        ("  token", f"cat {secrets}/API_TOKEN"),
        ("Ingest", ingest),
        ("  token", f"cat {secrets}/INGEST_TOKEN"),
        ("Analysis", analysis),
        ("Metrics", "\n".join(f"{url}/metrics" for url in (dashboard, api, ingest, analysis))),
        ("  broker", f"http://localhost:{ports['rabbitmq metrics']}/metrics"),
        ("Prometheus", _prometheus(ports)),
        ("Dead letters", f"(set -a; . {environment}; .venv/bin/auditflow dlq list)"),
        ("Logs", f"make logs   or the files in {layout.relative(layout.logs)}/"),
        ("Stop", "make down" if detached else "Ctrl-C, or `make down` in another terminal"),
        ("", "The data are kept until `make reset`."),
    ):
        lines.add_row(name, escape(text))
    return Panel(lines, title="AuditFlow is ready", border_style="green", expand=False)


def _prometheus(ports: Mapping[str, int]) -> str:
    if prometheus.installed(prometheus.PROGRAM):
        return f"http://localhost:{ports['prometheus']}/alerts   with the rules in monitoring/rules"
    return "not installed; if the package prometheus is installed, `make up` starts it"


def show(
    console: Console, layout: Layout, ports: Mapping[str, int], *, detached: bool, tls: bool = False
) -> None:
    """Print the summary and an example command that can be copied."""
    console.print(ready(layout, ports, detached=detached, tls=tls), soft_wrap=False)
    ingest = f"{'https' if tls else 'http'}://localhost:{ports[services.GENERATOR.name]}"
    console.print("\nRun this three times within a minute to raise an alert:\n")
    console.print(
        _example(ingest, layout.relative(layout.environment), tls=tls) + "\n", markup=False
    )


def _example(ingest: str, environment: str, *, tls: bool) -> str:
    event = (
        '{"event_type": "user_login", "action_result": "FAILURE",'
        ' "user_id": "alice", "server_hostname": "web-1"}'
    )
    authority = "--cacert $TLS_CA_FILE " if tls else ""
    return (
        f'. {environment}; curl {authority}-H "Authorization: Bearer $INGEST_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d '{event}' \\\n"
        f"  {ingest}/generate_event"
    )
