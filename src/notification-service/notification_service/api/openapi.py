"""The OpenAPI document, made by quart-schema from the models; here is what it lacks.

Of a model that is made of others it takes only one, so references would lead nowhere; and it knows
neither problem+json nor examples.
"""

import inspect
import re
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import Struct
from quart import Quart
from quart_schema import HttpSecurityScheme, Info, OpenAPIProvider, QuartSchema
from quart_schema.openapi import BaseConverter, Rule  # type: ignore[attr-defined]

from auditflow.http.problem import CONTENT_TYPE, Problem
from notification_service.api import examples

PATH: Final = "/openapi.json"

_INFO: Final = Info(
    title="AuditFlow notification service",
    version="1",
    summary="Alerts, and the findings and events that they rest on.",
    description="Errors are problem details (RFC 9457). Times are RFC 3339 in UTC. For operators "
    "there are also `/healthz`, `/readyz` and `/metrics`.",
)
_REFERENCE: Final = "#/components/schemas/{name}"


def add(app: Quart) -> None:
    """Serve the document at ``/openapi.json``."""
    QuartSchema(
        app,
        openapi_path=PATH,
        swagger_ui_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
        info=_INFO,
        security_schemes={"token": HttpSecurityScheme(scheme="bearer")},
        conversion_preference="msgspec",
        openapi_provider_class=Provider,
    )


def document(app: Quart) -> dict[str, Any]:
    """The document of an application."""
    schema: dict[str, Any] = app.extensions["QUART_SCHEMA"].openapi_provider.schema()
    return schema


class Provider(OpenAPIProvider):
    """quart-schema's, for models made of models."""

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
        parameter["schema"] = {"type": "string", "format": "uuid"}
        parameter["description"] = "The alert_id of a list."
        parameter["example"] = str(examples.SUMMARY.alert_id)
        return parameter

    def build_querystring_parameters(
        self, model: Any
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        root, components = _schema(model)
        parameters = []
        for name, schema in components.pop(_name(root))["properties"].items():
            told = _optional(schema)
            parameter = {"name": name, "in": "query", "required": False, "schema": told}
            for key in ("description", "examples"):
                if key in told:
                    parameter[key] = told.pop(key)
            if "examples" in parameter:
                parameter["example"] = parameter.pop("examples")[0]
            parameters.append(parameter)
        return parameters, components

    def build_response_object(
        self, model: Any, headers_model: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        del headers_model
        root, components = _schema(model)
        kind = CONTENT_TYPE if model is Problem else "application/json"
        content: dict[str, Any] = {"schema": root}
        if (example := examples.OF.get(model)) is not None:
            content["example"] = msgspec.to_builtins(
                msgspec.json.decode(msgspec.json.encode(example))
            )
        return {"content": {kind: content}, "description": inspect.getdoc(model)}, components


def _schema(model: type[Struct]) -> tuple[dict[str, Any], dict[str, Any]]:
    (root,), components = msgspec.json.schema_components([model], ref_template=_REFERENCE)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = _plain(schema["description"])
    return root, components


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter: it may be left out, but never be null."""
    schema = dict(schema)
    if "anyOf" in schema:
        (only,) = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
        schema = {**schema, **only}
        schema.pop("default", None)
    return schema


def _describe(code: int, answer: dict[str, Any]) -> str:
    if CONTENT_TYPE in answer["content"]:
        return HTTPStatus(code).phrase
    return _plain(answer["description"])


def _plain(docstring: str) -> str:
    """Without the marks and the line breaks of the source."""
    return re.sub(r"\s+", " ", docstring.replace("``", "`")).strip()
