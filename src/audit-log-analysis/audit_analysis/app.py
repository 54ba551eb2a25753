"""The HTTP side of the analysis: operations, and which rules are in force."""

from typing import Any

import msgspec
from flask import Flask
from prometheus_client import CollectorRegistry
from werkzeug.exceptions import HTTPException

from audit_analysis.sigma.rule import RuleSet
from auditflow import operations
from auditflow.health import Health
from auditflow.problem import Problem

SERVICE = "audit-log-analysis"


def create(rules: RuleSet, health: Health, registry: CollectorRegistry) -> Flask:
    """The application."""
    app = Flask(SERVICE, static_folder=None)
    operations.add_routes(app, health, registry, service=SERVICE)

    @app.get("/rules")
    def in_force() -> tuple[bytes, int, dict[str, str]]:
        body = {"rules": [rule.ref for rule in rules.rules]}
        return msgspec.json.encode(body), 200, {"Content-Type": "application/json"}

    @app.errorhandler(HTTPException)
    def problem(error: HTTPException) -> Any:
        return Problem(error.code or 500, error.name, error.description).response()

    return app
