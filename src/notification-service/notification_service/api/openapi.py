"""The OpenAPI document of the API: what it contains in addition to the routes and their models."""

from typing import Final

from auditflow.http.openapi import Documentation
from notification_service.api import examples

DOCUMENTATION: Final = Documentation(
    title="AuditFlow notification service",
    summary="Alerts: reading, triage, history and access.",
    description="Errors are problem details (RFC 9457). Times are RFC 3339 in UTC. Operators also "
    "use `/healthz`, `/readyz` and `/metrics`.",
    path_parameters=examples.PATH_PARAMETERS,
    examples=examples.OF,
    content_types=examples.CONTENT_TYPES,
    previous="previous",
)
