"""Sends requests to an API, decodes the responses and turns failures into errors with a text."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct
from opentelemetry.trace import SpanKind

from auditflow.contract.access import ADDRESS_HEADER, USER_HEADER
from auditflow.telemetry import logs, tracing
from event_audit_dashboard import errors
from event_audit_dashboard.apis.answers import Answer, Answers
from event_audit_dashboard.apis.transport import TIMEOUT_SECONDS, Reply, Service, Transport
from event_audit_dashboard.localization.translation import N_, gettext
from event_audit_dashboard.metrics import Metrics

_log = logs.get(__name__)
T = TypeVar("T")


class Caller(Struct, frozen=True):
    """The person and the request that cause an API call. ``None`` is the dashboard itself."""

    person: str | None
    correlation_id: str
    #: The address of the person.
    address: str | None = None


class ProblemDocument(Struct, frozen=True):
    """The parts of a problem+json error that the dashboard shows."""

    title: str | None = None
    detail: str | None = None


class _Part(Struct, frozen=True):
    state: str = ""


class _Readiness(Struct, frozen=True):
    dependencies: dict[str, _Part] = {}


_decode_problem = msgspec.json.Decoder(ProblemDocument).decode


class ApiClient:
    """Base of the clients. It is thread-safe."""

    def __init__(self, transport: Transport, *, metrics: Metrics) -> None:
        self._transport = transport
        self._metrics = metrics
        self._service = transport.service
        self._answers = Answers()

    def check(self) -> str | None:
        """Return None if the service is alive, otherwise the problem. Used by ``/readyz``.

        It checks the service, not its database. During an outage of the database, users still
        reach the dashboard, which reports the outage.
        """
        try:
            reply = self._transport.send("GET", "/healthz", timeout=0.8, is_probe=True)
        except errors.ApiError as error:
            return error.text
        return None if reply.status == 200 else f"status {reply.status}"

    def readiness(self) -> str | None:
        """Return None if the service and its dependencies work, otherwise the problem."""
        try:
            reply = self._transport.send("GET", "/readyz", timeout=1.0, is_probe=True)
            if reply.status == 200:
                return None
            state = msgspec.json.decode(reply.body, type=_Readiness)
        except errors.ApiError as error:
            return error.text
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return gettext("its state is unknown")
        down = [name for name, part in state.dependencies.items() if part.state != "up"]
        if not down:
            return gettext("it is not ready")
        return gettext("%(service)s cannot be reached", service=", ".join(sorted(down)))

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def get(
        self,
        path: str,
        caller: Caller,
        kind: type[T],
        query: Mapping[str, str] | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
    ) -> T:
        """Send a GET request and decode the response. ``timeout`` is in seconds."""
        return self.decode(
            self.send("GET", _target(path, query), caller, timeout=timeout).body, kind
        )

    def get_if_changed(
        self,
        path: str,
        caller: Caller,
        decode: Callable[[bytes], T],
        query: Mapping[str, str] | None = None,
        *,
        conditional: bool = True,
    ) -> T:
        """Send a GET request. Return the same object as before if the answer has not changed.

        If ``conditional``, the API is asked to send no body then. This requires that the ETag of
        the answer changes with each byte of it. ``decode`` may raise ``BadResponse``.
        """
        target = _target(path, query)
        kept = self._answers.get(caller.person, target)
        headers = None
        if conditional and kept is not None and kept.etag is not None:
            headers = {"If-None-Match": kept.etag}
        reply = self.send("GET", target, caller, headers=headers)
        if kept is not None and (reply.status == 304 or reply.body == kept.body):
            value: T = kept.value
            return value
        value = decode(reply.body)
        etag = reply.headers.get("ETag")
        self._answers.put(caller.person, target, Answer(reply.body, value, etag))
        return value

    def stream(self, target: str, caller: Caller) -> Iterator[bytes]:
        """Send a GET request and return the parts of the response, which may be large.

        Raises:
            ApiError: the service does not respond, or the status is an error. A connection that is
                lost later ends the iterator with this error.
        """
        reply, parts = self._transport.stream(target, headers=_identity(caller))
        _raise_for(reply, self._service)
        return parts

    def post(self, path: str, caller: Caller, kind: type[T], body: Mapping[str, Any]) -> T:
        """Send a POST request and decode the response."""
        return self.decode(self.send("POST", path, caller, body=body).body, kind)

    def send(
        self,
        method: str,
        target: str,
        caller: Caller,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Reply:
        """Send a request and return the response. ``timeout`` is in seconds.

        Raises:
            ApiError: the service does not respond, or the status is an error.
        """
        content = None if body is None else msgspec.json.encode(body)
        with tracing.span(f"request {self._service.slug}", kind=SpanKind.CLIENT):
            sent = {**tracing.headers(), **(headers or {}), **_identity(caller)}
            if content is not None:
                sent["Content-Type"] = "application/json"
            try:
                reply = self._transport.send(
                    method, target, headers=sent, body=content, timeout=timeout
                )
                if reply.status != 304 or "If-None-Match" not in sent:
                    _raise_for(reply, self._service)
            except errors.ApiError as error:
                self._metrics.upstream_errors.labels(error.reason).inc()
                raise
            return reply

    def decode(self, body: bytes, kind: type[T]) -> T:
        """Decode a response.

        Raises:
            BadResponse: it violates the API contract.
        """
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            _log.error("response violates the API contract", kind=kind.__name__, detail=str(error))
            self._metrics.upstream_errors.labels(errors.BadResponse.reason).inc()
            raise errors.BadResponse(
                N_("%(service)s sent a response that violates the API contract"),
                service=self._service.name,
            ) from None


def _target(path: str, query: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _identity(caller: Caller) -> dict[str, str]:
    """The headers that name the person and the request."""
    headers = {"X-Correlation-ID": caller.correlation_id}
    if caller.person is not None:
        headers[USER_HEADER] = quote(caller.person, safe=" @")
    if caller.address is not None:
        headers[ADDRESS_HEADER] = caller.address
    return headers


def segment(value: str) -> str:
    """A value as a segment of a path."""
    return quote(value, safe="")


def _raise_for(reply: Reply, service: Service) -> None:
    match reply.status:
        case 200 | 201 | 202 | 204:
            return
        case 400 | 413 | 414 | 422 | 428:
            raise errors.FilterRejected(_detail(reply) or N_("the API rejected the request"))
        case 401:
            raise errors.TokenRejected(
                N_("%(service)s does not accept this dashboard's token (API_TOKEN)"),
                service=service.name,
            )
        case 403:
            raise errors.NotAllowed(_detail(reply) or N_("your role does not permit this action"))
        case 404:
            raise errors.NotFound(_detail(reply) or N_("it does not exist"))
        case 409 | 412:
            raise errors.Conflict(_detail(reply) or N_("somebody has changed the alert"))
        case 429:
            raise errors.TooManyRequests(
                N_("you send more requests in a minute than %(service)s allows"),
                service=service.name,
            )
        case 502 | 503 | 504:
            raise errors.NotReady(
                N_("%(service)s is running, but it cannot read %(data)s"),
                service=service.name,
                data=service.data,
            )
        case status:
            raise errors.BadResponse(
                N_("%(service)s failed with status %(status)s"),
                service=service.name,
                status=str(status),
            )


def _detail(reply: Reply) -> str | None:
    try:
        problem = _decode_problem(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return problem.detail or problem.title
