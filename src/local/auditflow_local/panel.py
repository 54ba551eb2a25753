"""What is said when all is ready: where to look, and how to go on."""

from collections.abc import Mapping

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from auditflow_local import secrets, services
from auditflow_local.layout import Layout
from auditflow_local.servers import prometheus


def ready(layout: Layout, ports: Mapping[str, int], *, detached: bool) -> RenderableType:
    """The closing panel. It shows the password of this machine's own dashboard."""
    store = secrets.Store(layout.secrets)
    dashboard, api, ingest, analysis = (
        f"http://localhost:{ports[service.name]}"
        for service in (
            services.DASHBOARD,
            services.NOTIFICATION,
            services.GENERATOR,
            services.ANALYSIS,
        )
    )
    environment = layout.shown(layout.environment)
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="bold", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, text in (
        ("Dashboard", dashboard),
        ("  user", services.DASHBOARD_USER),
        ("  password", store.get("DASHBOARD_PASSWORD")),
        ("API", f"{api}/alerts   pages: {api}/docs   {api}/openapi.json"),
        ("  token", store.get("API_TOKEN")),
        ("Ingest", f"{ingest}   with the token INGEST_TOKEN in {environment}"),
        ("Analysis", analysis),
        ("Metrics", "\n".join(f"{url}/metrics" for url in (dashboard, api, ingest, analysis))),
        ("  broker", f"http://localhost:{ports['rabbitmq metrics']}/metrics"),
        ("Prometheus", _prometheus(ports)),
        ("Dead letters", f"(set -a; . {environment}; .venv/bin/auditflow dlq list)"),
        ("Logs", f"make logs   or the files in {layout.shown(layout.logs)}/"),
        ("Stop", "make down" if detached else "Ctrl-C here, or `make down` elsewhere"),
        ("", "The data stay until `make reset`."),
    ):
        lines.add_row(name, escape(text))
    return Panel(lines, title="AuditFlow is ready", border_style="green", expand=False)


def _prometheus(ports: Mapping[str, int]) -> str:
    if prometheus.installed(prometheus.PROGRAM):
        return f"http://localhost:{ports['prometheus']}/alerts   the rules of monitoring/rules"
    return "not on this machine; with the package prometheus, `make up` starts it too"


def show(console: Console, layout: Layout, ports: Mapping[str, int], *, detached: bool) -> None:
    """Print the panel, and below it, free to be copied, a first thing to try."""
    console.print(ready(layout, ports, detached=detached), soft_wrap=False)
    ingest = f"http://localhost:{ports[services.GENERATOR.name]}"
    console.print("\nThree of these within a minute are an alert:\n")
    console.print(_example(ingest, layout.shown(layout.environment)) + "\n", markup=False)


def _example(ingest: str, environment: str) -> str:
    event = (
        '{"event_type": "user_login", "action_result": "FAILURE",'
        ' "user_id": "alice", "server_hostname": "web-1"}'
    )
    return (
        f'. {environment}; curl -H "Authorization: Bearer $INGEST_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d '{event}' \\\n"
        f"  {ingest}/generate_event"
    )
