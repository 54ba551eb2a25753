"""The notification service, over HTTP: one pooled client, answers decoded or refused."""

import time
from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct
from opentelemetry.trace import SpanKind

from auditflow.telemetry import logs, tracing
from event_audit_dashboard import errors
from event_audit_dashboard.alerts import AlertDetail, Listing
from event_audit_dashboard.metrics import Metrics

#: For each step of a request, and for the whole of it.
TIMEOUT_SECONDS: Final = 2.0
#: Fifty findings with two events of 256 KiB each, and what surrounds them.
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
PAGE_SIZE: Final = 50

_log = logs.get(__name__)
T = TypeVar("T", Listing, AlertDetail)


class Problem(Struct, frozen=True):
    """What the dashboard reads of an error: the words."""

    title: str | None = None
    detail: str | None = None


_decode_problem = msgspec.json.Decoder(Problem).decode


class NotificationService:
    """Asks for alerts. Any number of threads may use it at once."""

    def __init__(self, base_url: str, *, token: str, metrics: Metrics) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
            trust_env=False,
        )
        self._metrics = metrics

    def alerts(
        self, query: Mapping[str, str], *, limit: int = PAGE_SIZE, correlation_id: str
    ) -> Listing:
        """One page of alerts.

        Raises:
            ApiError: with a sentence for people.
        """
        return self._get("/alerts", {**query, "limit": str(limit)}, Listing, correlation_id)

    def alert(self, alert_id: str, *, correlation_id: str) -> AlertDetail:
        """One alert whole.

        Raises:
            NoSuchAlert: there is none.
            ApiError: with a sentence for people.
        """
        return self._get(f"/alerts/{quote(alert_id, safe='')}", {}, AlertDetail, correlation_id)

    def check(self) -> str | None:
        """None when the service is alive, else what is wrong. For ``/readyz``.

        It asks whether the service lives, not whether its database does: during an outage of the
        database people should reach the dashboard, which tells them so.
        """
        try:
            status = self._http.get("/healthz", timeout=0.8).status_code
        except httpx.HTTPError as error:
            return f"no answer ({type(error).__name__})"
        return None if status == httpx.codes.OK else f"answers {status}"

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _get(self, path: str, query: Mapping[str, str], kind: type[T], correlation_id: str) -> T:
        with tracing.span("ask notification-service", kind=SpanKind.CLIENT):
            headers = {**tracing.headers(), "X-Correlation-ID": correlation_id}
            try:
                status, body = self._fetch(path, query, headers)
                _raise_for(status, body)
                return _decode(body, kind)
            except errors.ApiError as error:
                self._metrics.upstream_errors.labels(error.reason).inc()
                raise

    def _fetch(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        body = bytearray()
        try:
            with self._http.stream("GET", path, params=query, headers=headers) as response:
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        raise errors.BadAnswer("the notification service sends too much at once")
                    if time.monotonic() > deadline:
                        raise errors.Unreachable("the notification service answers too slowly")
                return response.status_code, bytes(body)
        except httpx.TimeoutException:
            raise errors.Unreachable(
                f"the notification service did not answer within {TIMEOUT_SECONDS:.0f} seconds"
            ) from None
        except httpx.HTTPError:
            raise errors.Unreachable("the notification service cannot be reached") from None


def _raise_for(status: int, body: bytes) -> None:
    match status:
        case 200:
            return
        case 400 | 414 | 422:
            raise errors.FilterRefused(_words(body) or "the notification service refuses it")
        case 401 | 403:
            raise errors.TokenRefused(
                "the notification service does not accept this dashboard's token (API_TOKEN)"
            )
        case 404:
            raise errors.NoSuchAlert("there is no alert with this identifier")
        case 429 | 502 | 503 | 504:
            raise errors.NotReady(
                "the notification service is running but cannot read the alerts at the moment"
            )
        case _:
            raise errors.BadAnswer(f"the notification service failed (it answered {status})")


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _log.error("answer does not fit", kind=kind.__name__, detail=str(error))
        raise errors.BadAnswer(
            "the notification service gave an answer that this dashboard does not understand"
        ) from None


def _words(body: bytes) -> str | None:
    try:
        problem = _decode_problem(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return problem.detail or problem.title
