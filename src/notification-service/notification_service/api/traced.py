"""Around each request: its trace and its correlation id, for everything that it logs."""

import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from opentelemetry.trace import SpanKind

from auditflow.telemetry import tracing
from auditflow.telemetry.metrics import OPERATIONAL_ROUTES

_ACCEPTABLE: Final = re.compile(r"[\x21-\x7e]{1,128}")
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class Traced:
    """An ASGI application whose requests continue the trace of who asks."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in OPERATIONAL_ROUTES:
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        given = headers.get("x-correlation-id", "")
        with tracing.span(
            f"{scope['method']} request",
            carrier=tracing.carrier(headers),
            correlation_id=given if _ACCEPTABLE.fullmatch(given) else str(uuid.uuid4()),
            kind=SpanKind.SERVER,
            **{"http.request.method": scope["method"], "url.path": scope["path"][:200]},
        ):
            await self._app(scope, receive, send)
