"""Makes calls with one constant text in templates cheaper.

A page calls ``_("Alerts")`` or ``url_for("alerts.listing")`` about 100 times. Jinja checks several
properties of a function in each call, but calls filters directly. A template is therefore changed
before it is compiled: such a call becomes a filter, ``"Alerts" | _``.
"""

from collections.abc import Callable, Collection
from typing import Any

from flask.templating import Environment
from jinja2 import nodes, pass_context
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer


class ConstantCallEnvironment(Environment):
    """Compiles calls with one constant text as filters, for the functions of ``add_functions``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """The arguments are those of Flask's environment."""
        super().__init__(*args, **options)
        self._functions: set[str] = set()

    def add_functions(self, **functions: Callable[..., object]) -> None:
        """Register functions as globals of all templates that are compiled later."""
        self.globals.update(functions)
        self.filters.update({name: _filter(function) for name, function in functions.items()})
        self._functions.update(functions)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        changed: nodes.Template = _CallsToFilters(self._functions).visit(template)
        return changed


def _filter(function: Callable[..., object]) -> Callable[[Context, str], object]:
    @pass_context  # Jinja does not call such a filter when it compiles a template
    def call(_: Context, text: str) -> object:
        return function(text)

    return call


class _CallsToFilters(NodeTransformer):
    """Replaces ``name("text")`` by ``"text" | name`` for some names."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def visit_Call(self, call: nodes.Call, *args: Any, **kwargs: Any) -> nodes.Node:  # noqa: N802
        """Called by Jinja for each call in the template."""
        match call:
            case nodes.Call(
                node=nodes.Name(name=str(name)),
                args=[nodes.Const(value=str()) as text],
                kwargs=[],
                dyn_args=None,
                dyn_kwargs=None,
            ) if name in self._names:
                return nodes.Filter(text, name, [], [], None, None, lineno=call.lineno)
        return self.generic_visit(call, *args, **kwargs)
