"""The OpenAPI document at ``/openapi.json``: quart-schema with nested models and problems."""

import datetime as dt
import inspect
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct
from quart import Quart
from quart_schema import (
    HttpSecurityScheme,
    Info,
    OpenAPIProvider,
    QuartSchema,
    document_response,
    security_scheme,
)
from quart_schema.openapi import BaseConverter, Rule  # type: ignore[attr-defined]

from audit_analysis.events_api import query
from audit_analysis.events_api.archive_search import FACETS
from audit_analysis.events_api.parameters import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    MAX_TEXT,
    ExportFormat,
)
from audit_analysis.events_api.query import Order
from auditflow.http.problem import CONTENT_TYPE, Problem

F = TypeVar("F", bound=Callable[..., Any])

_INFO: Final = Info(
    title="AuditFlow event archive",
    version="1",
    summary="Archived events: search, lookup, counts and export.",
    description="Errors are problem details (RFC 9457). Times are RFC 3339 in UTC. Tokens and "
    "roles are those of the notification service. Operators also use `/healthz`, `/readyz` and "
    "`/metrics`.",
)
_REFERENCE: Final = "#/components/schemas/{name}"


def _text(description: str, example: str | None = None, longest: int = query.MAX_VALUE) -> Meta:
    return Meta(
        description=description, examples=[example] if example else None, min_length=1,
        max_length=longest, pattern="^[^\\x00]*$",
    )  # fmt: skip


_EXACT = "The complete value. With `*` at the end it is a prefix in any letter case."
_Value = Annotated[str, _text(_EXACT)]


class FilterParameters(Struct):
    """The parameters that select events. All conditions must be true."""

    since: (
        Annotated[
            dt.datetime,
            Meta(
                description="Events at this time or later. By default one day before `until`.",
                examples=["2026-01-31T08:00:00Z"],
                tz=True,
            ),
        ]
        | None
    ) = None
    until: (
        Annotated[dt.datetime, Meta(description="Events before this time. Default: now.", tz=True)]
        | None
    ) = None
    user: Annotated[str, _text(_EXACT, "alice")] | None = None
    host: _Value | None = None
    ip: _Value | None = None
    resource: _Value | None = None
    event_type: _Value | None = None
    severity: _Value | None = None
    action_result: _Value | None = None
    source: _Value | None = None
    product: _Value | None = None
    service: _Value | None = None
    category: _Value | None = None
    source_service: _Value | None = None
    correlation_id: _Value | None = None
    q: (
        Annotated[
            str,
            _text("Text anywhere in the event's JSON, in any letter case.", "curl", MAX_TEXT),
        ]
        | None
    ) = None
    where: (
        Annotated[
            list[str],
            Meta(
                description="Further conditions: `FIELD=VALUE` or `FIELD|MODIFIER=VALUE`, with `!` "
                "in front to negate. Can be repeated. A field is one of "
                f"{', '.join(query.FIELDS)}, or `record.` with a path in the event's JSON. The "
                f"modifiers are {', '.join(query.Modifier)}; `cidr` is for IPv4 networks.",
                examples=[["user|startswith=adm", "record.details.port=22"]],
                max_length=query.MAX_CONDITIONS,
            ),
        ]
        | None
    ) = None
    refused: Annotated[bool, Meta(description="Whether the event was refused.")] | None = None
    late: Annotated[bool, Meta(description="Whether the event was late for a window.")] | None = (
        None
    )


class PageParameters(FilterParameters):
    """The parameters of a list of events."""

    order: Annotated[Order, Meta(description="The order by time.")] = Order.NEWEST
    limit: Annotated[int, Meta(description="Events on a page.", ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Meta(description="The next_cursor of the previous page.")] | None = None


class HistogramParameters(FilterParameters):
    """The parameters of a histogram."""

    interval_seconds: (
        Annotated[int, Meta(description="The length of a period.", ge=1, le=366 * 86400)] | None
    ) = None


class FacetParameters(FilterParameters):
    """The parameters of facets."""

    fields: (
        Annotated[
            str,
            Meta(
                description=f"One or more of {', '.join(FACETS)}, separated by commas.",
                examples=["user,host"],
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(description="Values of each field.", ge=1, le=100)] = 10


class ExportParameters(FilterParameters):
    """The parameters of an export."""

    format: Annotated[ExportFormat, Meta(description="The format.")] = ExportFormat.NDJSON


class EventParameters(Struct):
    """The parameter of one event."""

    event_id: Annotated[str, _text("The identifier of the event.", "4b1f", 256)]


class ExportFile(Struct):
    """The events, as NDJSON or Parquet."""


def document_problems(*statuses: int) -> Callable[[F], F]:
    """Document that a route requires the token and answers a problem with these status codes."""

    def decorate(route: F) -> F:
        for status in (*reversed(statuses), 429):
            route = document_response(Problem, status)(route)
        documented: F = security_scheme([{"token": []}])(route)
        return documented

    return decorate


def add(app: Quart) -> None:
    """Serve the document."""
    QuartSchema(
        app,
        openapi_path="/openapi.json",
        swagger_ui_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
        info=_INFO,
        security_schemes={"token": HttpSecurityScheme(scheme="bearer")},
        conversion_preference="msgspec",
        openapi_provider_class=_Provider,
    )


class _Provider(OpenAPIProvider):
    """The provider of quart-schema, with support for nested models."""

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        paths, components = super().build_paths(rule)
        for path in paths.values():
            for operation in path.values():
                operation["responses"] = {
                    str(code): {**answer, "description": _describe(code, answer)}
                    for code, answer in sorted(operation["responses"].items())
                }
                operation["description"] = operation.get("description", "").strip()
        return paths, components

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        parameter = super().build_path_parameter(name, converter)
        parameter.update(
            schema={"type": "string", "minLength": 1, "maxLength": 256},
            description="The identifier of the event.",
            example="4b1f",
        )
        return parameter

    def build_querystring_parameters(
        self, model: Any
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        root, components = _schema(model)
        properties = components.pop(_name(root))
        parameters = []
        for name, schema in properties["properties"].items():
            optional = _optional(schema)
            parameter = {
                "name": name, "in": "query", "required": name in properties.get("required", []),
                "schema": optional, "description": optional.pop("description", ""),
            }  # fmt: skip
            if "examples" in optional:
                parameter["example"] = optional.pop("examples")[0]
            parameters.append(parameter)
        return parameters, components

    def build_response_object(
        self, model: Any, headers_model: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        del headers_model
        if model is ExportFile:
            kinds = ("application/x-ndjson", "application/vnd.apache.parquet")
            content: dict[str, Any] = {kind: {"schema": {"type": "string"}} for kind in kinds}
            return {"content": content, "description": inspect.getdoc(model)}, {}
        root, components = _schema(model)
        kind = CONTENT_TYPE if issubclass(model, Problem) else "application/json"
        return {
            "content": {kind: {"schema": root}}, "description": inspect.getdoc(model)
        }, components  # fmt: skip


def _schema(model: type[Struct]) -> tuple[dict[str, Any], dict[str, Any]]:
    (root,), components = msgspec.json.schema_components([model], ref_template=_REFERENCE)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = _plain(schema["description"])
    return root, components


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter. A parameter is optional, but never null."""
    schema = dict(schema)
    if "anyOf" in schema:
        (only,) = [option for option in schema.pop("anyOf") if option != {"type": "null"}]
        schema = {**schema, **only}
        schema.pop("default", None)
    return schema


def _describe(code: int, answer: dict[str, Any]) -> str:
    if CONTENT_TYPE in answer["content"]:
        return HTTPStatus(int(code)).phrase
    return _plain(answer["description"])


def _plain(docstring: str) -> str:
    return re.sub(r"\s+", " ", docstring.replace("``", "`")).strip()
