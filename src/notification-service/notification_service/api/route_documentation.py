"""Documentation that all protected routes share: the token, and the problems that they answer."""

from collections.abc import Callable
from typing import Any, TypeVar

from quart_schema import document_response, security_scheme

from auditflow.http.problem import Problem

F = TypeVar("F", bound=Callable[..., Any])


def document_problems(*statuses: int) -> Callable[[F], F]:
    """Document that a route requires the token and answers a problem with these status codes."""

    def decorate(route: F) -> F:
        for status in reversed(statuses):
            route = document_response(Problem, status)(route)
        documented: F = security_scheme([{"token": []}])(route)
        return documented

    return decorate
