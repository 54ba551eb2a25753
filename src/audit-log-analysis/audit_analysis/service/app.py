"""The HTTP interface of the analysis: probes, metrics, and the active rules."""

from typing import Any

import msgspec
from flask import Flask, request
from prometheus_client import CollectorRegistry
from werkzeug.exceptions import HTTPException, NotFound

from audit_analysis.service.rule_catalogue import RuleCatalogue
from audit_analysis.service.rule_reloader import RuleReloader
from audit_analysis.service.watchdog import Watchdog
from auditflow.http import middleware, probes
from auditflow.http.health import Health
from auditflow.http.problem import Problem
from auditflow.telemetry.metrics import HttpMetrics

SERVICE = "audit-log-analysis"


def create(
    rules: RuleReloader,
    watchdog: Watchdog,
    health: Health,
    registry: CollectorRegistry,
    *,
    catalogue: RuleCatalogue,
) -> Flask:
    """Create the application."""
    app = Flask(SERVICE, static_folder=None)
    middleware.instrument(app, HttpMetrics(registry), request=request)
    probes.add_routes(app, health, registry, service=SERVICE, request=request)

    @app.get("/rules")
    def active_rules() -> tuple[bytes, int, dict[str, str]]:
        """The active rules, foreign rules with faults, files with faults, slow rules."""
        loaded = rules.loaded()
        body = {
            "rules": [{"rule": rule.ref, "staged": rule.staged} for rule in loaded.rules.rules],
            "refused": [str(fault) for fault in loaded.rules.refused],
            "faults": [str(fault) for fault in loaded.faults],
            "failed_files": [
                {
                    "file": str(path),
                    "previous_version_active": path in loaded.outdated,
                    "faults": [
                        {"line": fault.line, "message": fault.message}
                        for fault in loaded.faults
                        if fault.path == path
                    ],
                }
                for path in sorted({fault.path for fault in loaded.faults})
            ],
            "slow": watchdog.state(),
        }
        return msgspec.json.encode(body), 200, {"Content-Type": "application/json"}

    @app.get("/rules/catalogue")
    def rule_catalogue() -> tuple[bytes, int, dict[str, str]]:
        """All rules as their files describe them, and all exclusions."""
        return catalogue.encoded(), 200, {"Content-Type": "application/json"}

    @app.get("/rules/source")
    def rule_source() -> tuple[bytes, int, dict[str, str]]:
        """The YAML texts of the rule whose identifier is the parameter ``id``, and of its tests."""
        source = catalogue.source(request.args.get("id", ""))
        if source is None:
            raise NotFound("there is no rule with this identifier")
        body = msgspec.json.encode(source)
        return body, 200, {"Content-Type": "application/json"}

    @app.errorhandler(HTTPException)
    def problem(error: HTTPException) -> Any:
        return Problem(error.code or 500, error.name, error.description).response()

    return app
