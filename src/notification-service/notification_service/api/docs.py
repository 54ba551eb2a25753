"""``/docs``: the OpenAPI document as a page. It has no script and no external resources."""

import base64
import hashlib
import json
import shlex
from collections.abc import Iterator, Set
from typing import Any, Final

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup, escape
from msgspec import Struct
from quart import Quart
from quart_schema import hide

from auditflow.http import openapi

_PAGES: Final = Environment(
    loader=PackageLoader("notification_service.api"),
    autoescape=select_autoescape(),
    trim_blocks=True,
    lstrip_blocks=True,
)


class Field(Struct, frozen=True):
    """A row of a table: a parameter, or a field of a message."""

    name: str
    type: str
    about: str
    facts: tuple[str, ...]


class Answer(Struct, frozen=True):
    """One answer of a route."""

    code: str
    about: str
    model: str
    example: str | None


class Route(Struct, frozen=True):
    """One route."""

    anchor: str
    method: str
    path: str
    title: str
    about: str
    secured: bool
    parameters: tuple[Field, ...]
    answers: tuple[Answer, ...]
    call: str


class Model(Struct, frozen=True):
    """A kind of message."""

    name: str
    about: str
    fields: tuple[Field, ...]


def add(app: Quart) -> None:
    """Serve the page. It is rendered at the first request."""
    page: list[tuple[str, dict[str, str]]] = []

    @app.get("/docs")
    @hide
    async def docs() -> tuple[str, int, dict[str, str]]:
        if not page:
            page.append(render(openapi.document(app)))
        body, headers = page[0]
        return body, 200, headers


def render(document: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The page of an OpenAPI document, and its headers."""
    style = _PAGES.get_template("docs.css").render()
    models = list(_models(document))
    names = {model.name for model in models}
    body = _PAGES.get_template("docs.html").render(
        info=document["info"],
        routes=list(_routes(document)),
        models=models,
        typed=lambda text: _linked(text, names),
        style=style,
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return body, {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": (
            f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none';"
            " form-action 'none'; frame-ancestors 'none'"
        ),
    }


def _routes(document: dict[str, Any]) -> Iterator[Route]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield Route(
                anchor=operation["operationId"],
                method=method.upper(),
                path=path,
                title=operation["summary"].rstrip("."),
                about=operation["description"],
                secured=bool(operation.get("security")),
                parameters=tuple(map(_parameter, operation["parameters"])),
                answers=tuple(_answers(operation)),
                call=_call(method, path, operation),
            )


def _parameter(parameter: dict[str, Any]) -> Field:
    schema = parameter["schema"]
    facts = ["required, in the path"] if parameter["in"] == "path" else []
    if "default" in schema:
        facts.append(f"default {schema['default']}")
    if "minimum" in schema:
        facts.append(f"{schema['minimum']} to {schema['maximum']}")
    if "maxLength" in schema:
        facts.append(f"at most {schema['maxLength']} characters")
    if "example" in parameter:
        facts.append(f"for example {parameter['example']}")
    return Field(parameter["name"], _type(schema), parameter.get("description", ""), tuple(facts))


def _answers(operation: dict[str, Any]) -> Iterator[Answer]:
    for code, answer in operation["responses"].items():
        content = next(iter(answer["content"].values()))
        example = content.get("example") if code == "200" else None
        yield Answer(
            code,
            answer["description"],
            _type(content["schema"]),
            json.dumps(example, indent=2, ensure_ascii=False) if example else None,
        )


def _call(method: str, path: str, operation: dict[str, Any]) -> str:
    query: list[str] = []
    for parameter in operation["parameters"]:
        if "example" not in parameter:
            continue
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        elif len(query) < 2:
            query.append(f"{parameter['name']}={parameter['example']}")
    address = path + ("?" + "&".join(query) if query else "")
    token = '-H "Authorization: Bearer $API_TOKEN" ' if operation.get("security") else ""
    verb = "" if method == "get" else f"-X {method.upper()} "
    return f"curl {verb}{token}{shlex.quote('http://localhost:8000' + address)}"


def _models(document: dict[str, Any]) -> Iterator[Model]:
    for name, schema in document["components"]["schemas"].items():
        if schema.get("type") == "object":
            required = schema.get("required", [])
            yield Model(
                name,
                schema.get("description", ""),
                tuple(
                    Field(
                        field,
                        _type(about),
                        about.get("description", ""),
                        () if field in required else ("optional",),
                    )
                    for field, about in schema["properties"].items()
                ),
            )
        elif "enum" in schema:
            about = schema.get("description", "")
            yield Model(name, f"{about} One of {', '.join(schema['enum'])}.".strip(), ())


def _linked(text: str, names: Set[str]) -> Markup:
    """A type, in which the models are links to their sections."""
    return Markup(" ").join(
        Markup('<a href="#{0}">{0}</a>').format(word) if word in names else escape(word)
        for word in text.split(" ")
    )


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for combined in ("anyOf", "allOf"):
        if combined in schema:
            return " or ".join(map(_type, schema[combined]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object":
        return f"object of {_type(schema.get('additionalProperties') or {})}"
    named = {"date-time": "time", "uuid": "UUID"}.get(schema.get("format", ""))
    return named or str(schema.get("type", "any JSON"))
