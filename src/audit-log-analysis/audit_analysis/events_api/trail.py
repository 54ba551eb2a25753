"""Records searches and hunts in the audit trail of the notification service.

An entry is stored before the answer is sent. If the trail cannot store it, the caller gets no
answer: nobody reads the archive without an entry. The entry is reported with the token of the
caller, so that this process needs no token of its own, and nobody can report in another name.
"""

import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final, Protocol

import httpx
import msgspec
from msgspec import structs
from quart import Blueprint, Response, g, request

from audit_analysis.events_api.callers import TRAIL_HEADERS, Refusal, raise_if_refused
from auditflow.contract.audit import (
    REPEAT_SECONDS,
    TRAIL_PATH,
    Outcome,
    SearchAction,
    TrailReport,
    TrailReports,
    trail_text,
)
from auditflow.contract.event import from_epoch_ms
from auditflow.errors import Unavailable
from auditflow.http.api import RETRY_AFTER, problem
from auditflow.telemetry import logs

#: What each route does. A test checks that every route is here or in NOT_RECORDED.
ACTIONS: Final[Mapping[str, SearchAction]] = {
    "list_events": "archive searched",
    "get_histogram": "archive counted",
    "get_facets": "archive counted",
    "export_events": "archive exported",
    "get_event": "archived event shown",
    "get_event_by_id": "archived event shown",
    "get_event_proof": "archived event proved",
    "list_archived_files": "archived files listed",
    "start_hunt": "hunt started",
    "cancel_hunt": "hunt cancelled",
    "get_hunt": "hunt shown",
    "get_hunt_findings": "hunt findings read",
}
#: Routes that show no event and no rule of a request.
NOT_RECORDED: Final = frozenset({"list_hunts", "get_ledger", "get_senders"})
#: Maximum number of requests that are remembered, so that equal requests are recorded once.
_MAX_REMEMBERED: Final = 1_000
#: Parameters in an entry. An entry has at most 20 facts.
_MAX_PARAMETERS: Final = 15

log = logs.get(__name__)


class Trail(Protocol):
    """Stores entries of the audit trail."""

    async def store(self, headers: Mapping[str, str], report: TrailReport) -> None:
        """Store an entry about the caller with these headers, of those in ``TRAIL_HEADERS``.

        Raises:
            Refusal: the notification service refuses the caller.
            Unavailable: the entry cannot be stored now.
        """
        ...


class RemoteTrail:
    """Sends entries to the notification service at ``url``."""

    def __init__(self, url: str, *, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/") + TRAIL_PATH
        self._client = client

    async def store(self, headers: Mapping[str, str], report: TrailReport) -> None:
        """See ``Trail``."""
        try:
            answer = await self._client.post(
                self._url,
                headers={**headers, "Content-Type": "application/json"},
                content=msgspec.json.encode(TrailReports((report,))),
            )
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Unavailable("notification-service", reason) from error
        raise_if_refused(answer)
        if answer.status_code != HTTPStatus.OK:
            raise Unavailable("notification-service", f"answer {answer.status_code}")


class Recorder:
    """Records the requests of a blueprint. Without a trail, in the log only."""

    def __init__(self, trail: Trail | None) -> None:
        self._trail = trail
        self._recent: dict[tuple[object, ...], float] = {}

    def add(self, routes: Blueprint) -> None:
        """Record each request to a route of ``ACTIONS`` before its answer is sent."""

        @routes.before_request
        async def give() -> None:
            g.recorder = self

        @routes.after_request
        async def record(response: Response) -> Response:
            outcome = _outcome(response.status_code)
            if g.get("caller") is None or g.get("recorded") == outcome:
                return response
            report = self._report(outcome)
            if report is None:
                return response
            try:
                await self._store(report, is_repeatable=request.method == "GET")
            except (Refusal, Unavailable) as error:
                log.warning("a search is not in the audit trail", error=str(error))
                return response if outcome != "done" else _not_recorded(error)
            return response

    async def record_now(self) -> TrailReport | None:
        """Record the current request before it is processed. Returns the entry.

        For requests that change something, and for answers that are streams.

        Raises:
            Refusal, Unavailable: see ``Trail``.
        """
        report = self._report("done")
        if report is not None:
            await self._store(report, is_repeatable=False)
            g.recorded = "done"
        return report

    async def record_end(
        self, headers: Mapping[str, str], report: TrailReport | None, facts: Mapping[str, object]
    ) -> None:
        """Record the end of a request that ``record_now`` recorded. Without it, a log entry."""
        if report is None or self._trail is None:
            return
        detail = {**report.detail, **{key: trail_text(str(fact)) for key, fact in facts.items()}}
        try:
            await self._trail.store(headers, structs.replace(report, detail=detail))
        except (Refusal, Unavailable) as error:  # the answer was sent already
            log.warning("the end of an export is not in the audit trail", error=str(error))

    def _report(self, outcome: Outcome) -> TrailReport | None:
        """The entry about the current request; None if its route is not recorded."""
        action = ACTIONS.get(str(request.endpoint).rpartition(".")[2])
        if action is None:
            return None
        detail = _parameters(request.args.items(multi=True)) | g.get("trail_facts", {})
        targets = [str(value) for value in (request.view_args or {}).values()]
        log.info(
            action, caller=g.caller.name, caller_kind=g.caller.kind, path=request.path,
            outcome=outcome, detail=detail,
        )  # fmt: skip
        return TrailReport(
            actor=trail_text(g.caller.name),
            action=action,
            outcome=outcome,
            address=trail_text(request.remote_addr or ""),
            target=trail_text(" ".join(targets)),
            detail=detail,
        )

    async def _store(self, report: TrailReport, *, is_repeatable: bool) -> None:
        if self._trail is None:
            return
        headers = trail_headers()
        key = (*headers.items(), request.full_path, report.outcome)
        now = time.monotonic()
        if is_repeatable and now - self._recent.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        await self._trail.store(headers, report)
        if len(self._recent) >= _MAX_REMEMBERED:
            self._recent.clear()
        self._recent[key] = now


def trail_headers() -> dict[str, str]:
    """The headers that identify the caller of the current request."""
    return {name: request.headers[name] for name in TRAIL_HEADERS if name in request.headers}


def add_facts(**facts: object) -> None:
    """Add facts to the entry of the current request, for example the number of results."""
    known = g.setdefault("trail_facts", {})
    known.update({name: trail_text(str(fact)) for name, fact in facts.items()})


def add_range(since_ms: int, until_ms: int) -> None:
    """Add the time range of a search (ms since 1970) to the entry of the current request."""
    add_facts(since=_time(since_ms), until=_time(until_ms))


def _not_recorded(error: Refusal | Unavailable) -> Response:
    """The answer instead of a result that is not in the audit trail."""
    if isinstance(error, Refusal):
        return Response(*problem(error.status, str(error)))
    text = "The audit trail is unavailable. Repeat the request later."
    return Response(*problem(503, text, Retry_After=RETRY_AFTER))


def _time(timestamp_ms: int) -> str:
    return from_epoch_ms(timestamp_ms).isoformat()


def _parameters(given: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parameters of a request. Long values are cut."""
    values: dict[str, list[str]] = {}
    for name, value in given:
        values.setdefault(name, []).append(value)
    shown = list(values.items())[:_MAX_PARAMETERS]
    return {trail_text(name): trail_text(", ".join(texts)) for name, texts in shown}


def _outcome(status: int) -> Outcome:
    if status < HTTPStatus.BAD_REQUEST:
        return "done"
    return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"
