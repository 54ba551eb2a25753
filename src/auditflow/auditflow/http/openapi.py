"""The OpenAPI document. quart-schema creates it from the models; this module adds what it lacks.

It lacks components of nested models, problem+json and examples.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
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

from auditflow.http.problem import CONTENT_TYPE, Problem

PATH: Final = "/openapi.json"
_REFERENCE: Final = "#/components/schemas/{name}"
F = TypeVar("F", bound=Callable[..., Any])


class PathParameter(Struct, frozen=True):
    """A parameter in the path of a route: JSON Schema, description and example."""

    schema: dict[str, Any]
    description: str
    example: str


class Documentation(Struct, frozen=True, kw_only=True):
    """What an application adds to the document.

    Attributes:
        title: the name of the API.
        summary: its purpose, in a sentence.
        description: text below the summary, in CommonMark.
        path_parameters: the parameters in paths, by name.
        examples: an example of a model, as an instance of it.
        content_types: the content types of models that are not sent as JSON.
        previous: the blueprint of a previous version of the API, whose routes are deprecated.
    """

    title: str
    summary: str
    description: str
    path_parameters: Mapping[str, PathParameter]
    examples: Mapping[type, Any] = {}
    content_types: Mapping[type, tuple[str, ...]] = {}
    previous: str | None = None


def document_problems(*statuses: int) -> Callable[[F], F]:
    """Document that a route requires the token and answers a problem with these status codes."""

    def decorate(route: F) -> F:
        for status in reversed(statuses):
            route = document_response(Problem, status)(route)
        documented: F = security_scheme([{"token": []}])(route)
        return documented

    return decorate


def add(app: Quart, documentation: Documentation) -> None:
    """Serve the document at ``/openapi.json``."""

    class AppProvider(_Provider):
        pass

    AppProvider.documentation = documentation
    make_response = app.make_response
    QuartSchema(
        app,
        openapi_path=PATH,
        swagger_ui_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
        info=Info(
            title=documentation.title,
            version="1",
            summary=documentation.summary,
            description=documentation.description,
        ),
        security_schemes={"token": HttpSecurityScheme(scheme="bearer")},
        conversion_preference="msgspec",
        openapi_provider_class=AppProvider,
    )
    # Routes return encoded JSON, so the conversion by quart-schema is only a cost.
    app.make_response = make_response  # type: ignore[method-assign]


def document(app: Quart) -> dict[str, Any]:
    """The document of an application."""
    schema: dict[str, Any] = app.extensions["QUART_SCHEMA"].openapi_provider.schema()
    return schema


class _Provider(OpenAPIProvider):
    """The provider of quart-schema, with support for nested models."""

    documentation: Documentation

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
                if rule.endpoint.rpartition(".")[0] == self.documentation.previous:
                    operation["deprecated"] = True
                    # Both versions have functions with the same name, and identifiers are unique.
                    operation["operationId"] = f"previous_{operation['operationId']}"
        return paths, components

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        parameter = super().build_path_parameter(name, converter)
        documented = self.documentation.path_parameters[name]
        parameter.update(
            schema=dict(documented.schema),
            description=documented.description,
            example=documented.example,
        )
        return parameter

    def build_querystring_parameters(
        self, model: Any
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return _parameters(model, "query")

    def build_headers_parameters(self, model: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return _parameters(model, "header")

    def build_request_body(self, model: Any, source: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        del source
        root, components = _schema(model)
        required = bool(components[_name(root)].get("required"))
        content = {"application/json": self._content(model, root)}
        return {"content": content, "required": required}, components

    def build_response_object(
        self, model: Any, headers_model: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        del headers_model
        description = inspect.getdoc(model)
        if model in self.documentation.content_types:
            kinds = self.documentation.content_types[model]
            content = {kind: {"schema": {"type": _type_of(kind)}} for kind in kinds}
            return {"content": content, "description": description}, {}
        root, components = _schema(model)
        kind = CONTENT_TYPE if issubclass(model, Problem) else "application/json"
        content = {kind: self._content(model, root)}
        return {"content": content, "description": description}, components

    def _content(self, model: Any, root: dict[str, Any]) -> dict[str, Any]:
        example = self.documentation.examples.get(model)
        if example is None:
            return {"schema": root}
        return {"schema": root, "example": msgspec.json.decode(msgspec.json.encode(example))}


def _type_of(content_type: str) -> str:
    """The type of a body in a schema. A body in a format of JSON is an object, not text."""
    return "object" if content_type.partition(";")[0].endswith("+json") else "string"


def _parameters(model: Any, location: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    root, components = _schema(model)
    properties = components.pop(_name(root))
    required = properties.get("required", [])
    parameters = []
    for name, schema in properties["properties"].items():
        optional = _optional(schema)
        parameter = {
            "name": name, "in": location, "required": name in required, "schema": optional
        }  # fmt: skip
        if "description" in optional:
            parameter["description"] = optional.pop("description")
        if "examples" in optional:
            parameter["example"] = optional.pop("examples")[0]
        parameters.append(parameter)
    return parameters, components


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
    """The docstring without its markup and line breaks."""
    return re.sub(r"\s+", " ", docstring.replace("``", "`")).strip()
