"""HTTP client of the notification service's API, with pooled connections and decoded responses."""

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
from event_audit_dashboard.alerts import AlertDetail, AlertPage
from event_audit_dashboard.metrics import Metrics

#: Limit for each step of a request and for the complete request, in seconds.
TIMEOUT_SECONDS: Final = 2.0
#: 50 findings with two events of 256 KiB each, plus their surrounding JSON.
MAX_RESPONSE_BYTES: Final = 32 * 1024 * 1024
PAGE_SIZE: Final = 50

_log = logs.get(__name__)
T = TypeVar("T", AlertPage, AlertDetail)


class Problem(Struct, frozen=True):
    """The texts of a problem+json error."""

    title: str | None = None
    detail: str | None = None


_decode_problem = msgspec.json.Decoder(Problem).decode


class NotificationService:
    """Client of the notification service. It is thread-safe."""

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
    ) -> AlertPage:
        """One page of alerts.

        Raises:
            ApiError: the text is fit for a page.
        """
        return self._get("/alerts", {**query, "limit": str(limit)}, AlertPage, correlation_id)

    def alert(self, alert_id: str, *, correlation_id: str) -> AlertDetail:
        """One alert with its newest findings.

        Raises:
            AlertNotFound: there is no alert with this id.
            ApiError: the text is fit for a page.
        """
        return self._get(f"/alerts/{quote(alert_id, safe='')}", {}, AlertDetail, correlation_id)

    def check(self) -> str | None:
        """Return None if the service is alive, otherwise the problem. Used by ``/readyz``.

        It checks the service, not its database. During an outage of the database, users still
        reach the dashboard, which reports the outage.
        """
        try:
            status = self._http.get("/healthz", timeout=0.8).status_code
        except httpx.HTTPError as error:
            return f"no response ({type(error).__name__})"
        return None if status == httpx.codes.OK else f"status {status}"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _get(self, path: str, query: Mapping[str, str], kind: type[T], correlation_id: str) -> T:
        with tracing.span("request notification-service", kind=SpanKind.CLIENT):
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
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_RESPONSE_BYTES:
                        raise errors.BadResponse(
                            "the response of the notification service is too large"
                        )
                    if time.monotonic() > deadline:
                        raise errors.Unreachable("the notification service responds too slowly")
                return response.status_code, bytes(body)
        except httpx.TimeoutException:
            raise errors.Unreachable(
                f"the notification service did not respond within {TIMEOUT_SECONDS:.0f} seconds"
            ) from None
        except httpx.HTTPError:
            raise errors.Unreachable("the notification service cannot be reached") from None


def _raise_for(status: int, body: bytes) -> None:
    match status:
        case 200:
            return
        case 400 | 414 | 422:
            raise errors.FilterRejected(
                _problem_text(body) or "the notification service rejected the request"
            )
        case 401 | 403:
            raise errors.TokenRejected(
                "the notification service does not accept this dashboard's token (API_TOKEN)"
            )
        case 404:
            raise errors.AlertNotFound("there is no alert with this identifier")
        case 429 | 502 | 503 | 504:
            raise errors.NotReady(
                "the notification service is running, but it cannot read the alerts"
            )
        case _:
            raise errors.BadResponse(f"the notification service failed with status {status}")


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _log.error("response violates the API contract", kind=kind.__name__, detail=str(error))
        raise errors.BadResponse(
            "the response of the notification service violates the API contract"
        ) from None


def _problem_text(body: bytes) -> str | None:
    try:
        problem = _decode_problem(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return problem.detail or problem.title
