"""The OpenAPI document. quart-schema creates it from the models; this module adds what it lacks.

It lacks components of nested models, problem+json and examples.
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
    summary="Alerts: reading, triage, history and access.",
    description="Errors are problem details (RFC 9457). Times are RFC 3339 in UTC. Operators also "
    "use `/healthz`, `/readyz` and `/metrics`.",
)
_REFERENCE: Final = "#/components/schemas/{name}"


def add(app: Quart) -> None:
    """Serve the document at ``/openapi.json``."""
    make_response = app.make_response
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
    # Routes return encoded JSON, so the conversion by quart-schema is only a cost.
    app.make_response = make_response  # type: ignore[method-assign]


def document(app: Quart) -> dict[str, Any]:
    """The document of an application."""
    schema: dict[str, Any] = app.extensions["QUART_SCHEMA"].openapi_provider.schema()
    return schema


class Provider(OpenAPIProvider):
    """The provider of quart-schema, with support for nested models."""

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        paths, components = super().build_paths(rule)
        for path in paths.values():
            for operation in path.values():
                operation["responses"] = {
                    str(code): {**answer, "description": _describe(code, answer)}
                    for code, answer in sorted(operation["responses"].items())
                }
                if operation.get("security"):  # every caller has a limit
                    limited = operation["responses"]["401"]
                    operation["responses"]["429"] = {**limited, "description": "Too Many Requests"}
                operation["description"] = operation.get("description", "").strip()
        return paths, components

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        parameter = super().build_path_parameter(name, converter)
        schema, description, example = examples.PATH_PARAMETERS[name]
        parameter.update(schema=dict(schema), description=description, example=example)
        return parameter

    def build_querystring_parameters(
        self, model: Any
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return self._parameters(model, "query")

    def build_headers_parameters(self, model: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return self._parameters(model, "header")

    def build_request_body(self, model: Any, source: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        del source
        root, components = _schema(model)
        content: dict[str, Any] = {"schema": root}
        if (example := examples.OF.get(model)) is not None:
            content["example"] = msgspec.to_builtins(
                msgspec.json.decode(msgspec.json.encode(example))
            )
        required = bool(components[_name(root)].get("required"))
        return {"content": {"application/json": content}, "required": required}, components

    def _parameters(self, model: Any, location: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        root, components = _schema(model)
        parameters = []
        properties = components.pop(_name(root))
        required = properties.get("required", [])
        for name, schema in properties["properties"].items():
            optional = _optional(schema)
            parameter = {
                "name": name, "in": location, "required": name in required, "schema": optional
            }  # fmt: skip
            for key in ("description", "examples"):
                if key in optional:
                    parameter[key] = optional.pop(key)
            if "examples" in parameter:
                parameter["example"] = parameter.pop("examples")[0]
            parameters.append(parameter)
        return parameters, components

    def build_response_object(
        self, model: Any, headers_model: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        del headers_model
        if model in examples.CONTENT_TYPES:
            content = {
                kind: {"schema": {"type": "string"}} for kind in examples.CONTENT_TYPES[model]
            }
            return {"content": content, "description": inspect.getdoc(model)}, {}
        root, components = _schema(model)
        kind = CONTENT_TYPE if issubclass(model, Problem) else "application/json"
        described: dict[str, Any] = {"schema": root}
        if (example := examples.OF.get(model)) is not None:
            described["example"] = msgspec.to_builtins(
                msgspec.json.decode(msgspec.json.encode(example))
            )
        return {"content": {kind: described}, "description": inspect.getdoc(model)}, components


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
        return HTTPStatus(code).phrase
    return _plain(answer["description"])


def _plain(docstring: str) -> str:
    """The docstring without its markup and line breaks."""
    return re.sub(r"\s+", " ", docstring.replace("``", "`")).strip()
