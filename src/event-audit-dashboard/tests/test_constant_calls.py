from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from event_audit_dashboard.rendering.constant_calls import ConstantCallEnvironment


@pytest.fixture
def environment() -> ConstantCallEnvironment:
    return ConstantCallEnvironment(Flask("test"))


@pytest.fixture
def called(environment: ConstantCallEnvironment) -> list[str]:
    """The texts with which the function ``_`` was called, in order."""
    calls: list[str] = []

    def translate(text: str, **values: object) -> str:
        calls.append(text)
        return (text % values).upper()

    environment.add_functions(_=translate)
    return calls


def render(environment: ConstantCallEnvironment, source: str, **context: Any) -> str:
    return environment.from_string(source).render(**context)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ _('open') }}", "OPEN"),
        ("{{ _('open')|lower }}", "open"),
        ("{{ _('a') ~ _('b') }}", "AB"),
        ("{{ (_('a'))[0] }}", "A"),
        ("{{ _(word) }}", "WORD"),
        ("{{ _('%(n)s open', n=3) }}", "3 OPEN"),
        ("{% macro label() %}{{ _('open') }}{% endmacro %}{{ label() }}", "OPEN"),
        ("{{ _(*['open']) }}", "OPEN"),
        ("{{ 'x'.replace('x', _('open')) }}", "OPEN"),
    ],
)
def test_constant_and_other_calls_have_the_same_result(
    environment: ConstantCallEnvironment, called: list[str], source: str, expected: str
) -> None:
    assert render(environment, source, word="word") == expected
    assert called


def test_the_function_is_called_in_each_rendering(
    environment: ConstantCallEnvironment, called: list[str]
) -> None:
    template = environment.from_string("{{ _('open') }}")
    assert template.render() == template.render() == "OPEN"
    assert called == ["open", "open"]


def test_a_constant_call_is_compiled_as_a_filter(environment: ConstantCallEnvironment) -> None:
    environment.add_functions(_=str.upper)
    compiled = environment.compile("{{ _('open') }}", raw=True)
    assert "context.call" not in compiled
    assert "context.call" in environment.compile("{{ _(word) }}", raw=True)


def test_errors_of_the_function_are_raised(environment: ConstantCallEnvironment) -> None:
    def refuse(text: str) -> str:
        raise LookupError(f"there is no {text}")

    environment.add_functions(asset=refuse)
    with pytest.raises(LookupError, match="there is no missing"):
        render(environment, "{{ asset('missing.css') }}")


def test_other_functions_are_called(environment: ConstantCallEnvironment) -> None:
    shout: Callable[[str], str] = lambda text: text + "!"  # noqa: E731
    environment.globals["shout"] = shout
    assert render(environment, "{{ shout('hey') }}") == "hey!"
