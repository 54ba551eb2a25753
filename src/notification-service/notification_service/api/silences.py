"""Silences and maintenance windows."""

import datetime as dt
import uuid
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta
from quart import Blueprint, g, request
from quart_schema import document_querystring, document_request, document_response

from auditflow.contract.access import Role
from auditflow.contract.notification import (
    AlertSilenceRequest,
    HiddenAlerts,
    MaintenanceRequest,
    PreviewRequest,
    SilenceList,
    SilenceRequest,
    SilenceView,
)
from auditflow.http.api import Answer, ok, problem
from auditflow.http.openapi import document_problems
from notification_service.alert import Alert
from notification_service.api import trail_recording
from notification_service.api.alerts import not_found as no_alert
from notification_service.api.callers import require
from notification_service.api.notifications import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    SILENCE_STATES,
    PageParameters,
    parameters,
)
from notification_service.api.requests import InvalidBody, body_of, identifier, in_thread
from notification_service.database.pool import Pool
from notification_service.outbox import sql
from notification_service.routing import durations, labels, matchers
from notification_service.routing.matchers import Matcher
from notification_service.silences.model import RecurrenceError, Silence, check_recurrence
from notification_service.silences.preview import hidden_now, preview
from notification_service.silences.store import SilenceStore, TooManySilences

#: A preview reads many alerts.
_PREVIEW_SECONDS: Final = 10.0


class SilenceParameters(PageParameters):
    """The parameters that select silences."""

    state: Annotated[str, Meta(pattern=f"^({'|'.join(SILENCE_STATES)})$")] | None = None


def add(routes: Blueprint, store: SilenceStore, pool: Pool) -> None:
    """Add the routes. ``pool`` is for reading alerts."""
    _add_reads(routes, store, pool)
    _add_changes(routes, store, pool)

    @routes.post("/silences/preview")
    @document_request(PreviewRequest)
    @document_response(HiddenAlerts)
    @document_problems(400, 401, 403, 503)
    async def preview_silence() -> Answer:
        """Show the alerts of the last days that a silence would have hidden.

        Without a recurrence, all alerts that match. With one, those that were opened during an
        occurrence.
        """
        require(g.caller, Role.VIEWER, "alerts:read")
        body = await body_of(request, PreviewRequest)
        silence = _silence(
            body.matchers,
            reason="preview",
            starts_at=body.starts_at,
            ends_at=None,
            recurrence=body.recurrence,
            duration=body.duration,
            time_zone=body.time_zone,
        )
        now = dt.datetime.now(dt.UTC)
        read = partial(preview, pool, silence, days=body.days, now=now)
        return ok(await in_thread(read, seconds=_PREVIEW_SECONDS))


def _add_reads(routes: Blueprint, store: SilenceStore, pool: Pool) -> None:
    @routes.get("/silences")
    @document_querystring(SilenceParameters)
    @document_response(SilenceList)
    @document_problems(400, 401, 503)
    async def list_silences() -> Answer:
        """List silences, the newest first. Silences that ended stay in the list."""
        criteria = parameters("after", "limit", "state")
        limit = int(str(criteria.get("limit", DEFAULT_LIMIT)))
        after = criteria.get("after")
        position = None
        if isinstance(after, UUID):
            last = await in_thread(partial(store.get, after))
            position = (last.created_at, last.silence_id) if last else None
        read = partial(_page, store, limit=limit + 1, after=position, state=criteria.get("state"))
        found = await in_thread(read)
        shown = found[:limit]
        more = shown[-1].silence_id if len(found) > limit else None
        return ok(SilenceList(tuple(shown), more))

    @routes.get("/silences/<silence_id>")
    @document_response(SilenceView)
    @document_problems(401, 404, 503)
    async def get_silence(silence_id: str) -> Answer:
        """Show one silence."""
        parsed = identifier(silence_id)
        found = await in_thread(partial(store.get, parsed)) if parsed else None
        return ok(_view(found)) if found else _not_found()

    @routes.get("/silences/<silence_id>/alerts")
    @document_response(HiddenAlerts)
    @document_problems(401, 404, 503)
    async def list_silenced_alerts(silence_id: str) -> Answer:
        """List the alerts that a silence hides now."""
        parsed = identifier(silence_id)
        found = await in_thread(partial(store.get, parsed)) if parsed else None
        if found is None:
            return _not_found()
        read = partial(hidden_now, pool, found, now=dt.datetime.now(dt.UTC))
        return ok(await in_thread(read, seconds=_PREVIEW_SECONDS))


def _page(
    store: SilenceStore,
    *,
    limit: int,
    after: tuple[dt.datetime, UUID] | None,
    state: str | None,
) -> list[SilenceView]:
    """The newest silences in this state. Those that are not ended are few."""
    ended = None if state is None else state == "ended"
    found: list[SilenceView] = []
    while len(found) < limit:
        page = store.page(limit=MAX_LIMIT, after=after, ended=ended)
        views = map(_view, page)
        found += [view for view in views if state is None or view.state == state]
        if len(page) < MAX_LIMIT:
            break
        after = (page[-1].created_at, page[-1].silence_id)
    return found[:limit]


def _add_changes(routes: Blueprint, store: SilenceStore, pool: Pool) -> None:
    @routes.post("/silences")
    @document_request(SilenceRequest)
    @document_response(SilenceView)
    @document_problems(400, 401, 403, 503)
    async def create_silence() -> Answer:
        """Create a silence.

        It hides alerts that match from notification. The alerts stay in all lists.
        """
        require(g.caller, Role.ANALYST, "alerts:write")
        body = await body_of(request, SilenceRequest)
        if body.recurrence is None and body.ends_at is None:
            raise InvalidBody("Give ends_at, or a recurrence with a duration.")
        silence = _silence(
            body.matchers,
            reason=body.reason,
            starts_at=body.starts_at,
            ends_at=body.ends_at,
            recurrence=body.recurrence,
            duration=body.duration,
            time_zone=body.time_zone,
            author=g.caller.actor.name,
        )
        if silence.ends_at is not None and silence.ends_at <= silence.created_at:
            raise InvalidBody("ends_at is in the past, so the silence would hide nothing.")
        return await _add(store, silence)

    @routes.delete("/silences/<silence_id>")
    @document_response(SilenceView)
    @document_problems(401, 403, 404, 503)
    async def end_silence(silence_id: str) -> Answer:
        """End a silence now. Alerts that it hid are notified, if they are still open."""
        require(g.caller, Role.ANALYST, "alerts:write")
        parsed = identifier(silence_id)
        if parsed is None:
            return _not_found()
        end = partial(store.cancel, parsed, by=g.caller.actor.name, now=dt.datetime.now(dt.UTC))
        found = await in_thread(end)
        return ok(_view(found)) if found else _not_found()

    @routes.post("/alerts/<alert_id>/silence")
    @document_request(AlertSilenceRequest)
    @document_response(SilenceView)
    @document_problems(400, 401, 403, 404, 503)
    async def silence_alert(alert_id: str) -> Answer:
        """Silence the rule of an alert for its entity.

        Until the alert is resolved, or for a duration.
        """
        require(g.caller, Role.ANALYST, "alerts:write")
        body = await body_of(request, AlertSilenceRequest)
        parsed = identifier(alert_id)
        alert = await in_thread(partial(_read_alert, pool, parsed)) if parsed else None
        if alert is None:
            return no_alert()
        now = dt.datetime.now(dt.UTC)
        silence = Silence(
            silence_id=uuid.uuid4(),
            matchers=_matchers_of(alert),
            author=g.caller.actor.name,
            reason=body.reason,
            starts_at=now,
            ends_at=now + _duration(body.duration) if body.duration else None,
            until_resolved=None if body.duration else alert.alert_id,
            created_at=now,
        )
        return await _add(store, silence)

    @routes.post("/maintenance-windows")
    @document_request(MaintenanceRequest)
    @document_response(SilenceView)
    @document_problems(400, 401, 403, 503)
    async def put_maintenance_window() -> Answer:
        """Create or replace the maintenance window of a change system.

        A window is a silence. The same `id` replaces the window before, so that a change system may
        send it again.
        """
        require(g.caller, Role.ANALYST, "alerts:write")
        body = await body_of(request, MaintenanceRequest)
        silence = _silence(
            body.matchers,
            reason=body.title,
            starts_at=body.starts_at,
            ends_at=body.ends_at,
            author=g.caller.actor.name,
            external_id=body.id,
        )
        stored = await in_thread(partial(store.put, silence))
        _record(stored)
        return ok(_view(stored))


def _record(silence: Silence) -> None:
    """Add to the audit trail what a silence hides, which its row alone does not prove."""
    end = silence.until_resolved and f"when {silence.until_resolved} is resolved"
    trail_recording.add_detail(
        silence_id=str(silence.silence_id),
        matchers=" ".join(map(str, silence.matchers)),
        reason=silence.reason,
        starts_at=silence.starts_at.isoformat(),
        ends=end or (silence.ends_at.isoformat() if silence.ends_at else "never"),
        **({"recurrence": silence.recurrence} if silence.recurrence else {}),
        **({"external_id": silence.external_id} if silence.external_id else {}),
    )


async def _add(store: SilenceStore, silence: Silence) -> Answer:
    _record(silence)
    try:
        await in_thread(partial(store.add, silence))
    except TooManySilences:
        raise InvalidBody("There are too many silences. End some that are not needed.") from None
    return ok(_view(silence))


def _silence(
    texts: tuple[str, ...],
    *,
    reason: str,
    starts_at: dt.datetime | None,
    ends_at: dt.datetime | None,
    recurrence: str | None = None,
    duration: str | None = None,
    time_zone: str = "UTC",
    author: str = "",
    external_id: str | None = None,
) -> Silence:
    now = dt.datetime.now(dt.UTC)
    begin = starts_at or now
    if ends_at is not None and ends_at <= begin:
        raise InvalidBody("ends_at must be later than starts_at.")
    if abs(begin - now) > dt.timedelta(days=3_660):
        raise InvalidBody("starts_at is more than ten years away.")
    if (recurrence is None) != (duration is None):
        raise InvalidBody("Give recurrence and duration together.")
    length = _duration(duration) if duration else None
    if recurrence is not None and length is not None:
        try:
            check_recurrence(recurrence, begin, time_zone, length)
        except RecurrenceError as error:
            raise InvalidBody.at("recurrence", str(error)) from None
    return Silence(
        silence_id=uuid.uuid4(),
        matchers=_matchers(texts),
        author=author,
        reason=reason,
        starts_at=begin,
        ends_at=ends_at,
        recurrence=recurrence,
        duration=length,
        time_zone=time_zone if recurrence else "UTC",
        external_id=external_id,
        created_at=now,
    )


def _matchers(texts: tuple[str, ...]) -> tuple[Matcher, ...]:
    found = []
    for number, text in enumerate(texts):
        try:
            matcher = matchers.parse(text)
            if matcher.name not in labels.NAMES and not matcher.name.startswith("entity."):
                known = ", ".join(labels.NAMES)
                raise InvalidBody(
                    f"Alerts have no label {matcher.name[:80]!r}; the labels are {known}"
                )
        except matchers.MatcherError as error:
            raise InvalidBody.at(f"matchers[{number}]", str(error)) from None
        found.append(matcher)
    if all(matcher.matches({}) for matcher in found):
        raise InvalidBody("The matchers match every alert. Give one that requires a label.")
    return tuple(found)


def _matchers_of(alert: Alert) -> tuple[Matcher, ...]:
    """The rule and the entity of an alert, exactly."""
    known = labels.of_alert(alert)
    names = ["rule", *(f"entity.{name}" for name in alert.entity)]
    return tuple(
        Matcher(name, "=", known[name])
        for name in names
        if name in known and matchers.NAME.fullmatch(name)
    )


def _read_alert(pool: Pool, alert_id: UUID) -> Alert | None:
    with pool.connection() as connection, connection.cursor() as cursor:
        return sql.read_alerts(cursor, [alert_id]).get(alert_id)


def _duration(text: str) -> dt.timedelta:
    try:
        duration = durations.parse(text)
    except ValueError as error:
        raise InvalidBody.at("duration", str(error)) from None
    if not duration:
        raise InvalidBody.at("duration", "must be longer than 0s")
    return duration


def _not_found() -> Answer:
    return problem(HTTPStatus.NOT_FOUND, "There is no silence with this identifier.")


def _view(silence: Silence) -> SilenceView:
    now = dt.datetime.now(dt.UTC)
    ended = silence.cancelled_at or silence.ends_at
    if silence.active_until(now) is not None:
        state = "active"
    else:
        state = "ended" if ended is not None and ended <= now else "pending"
    return SilenceView(
        silence_id=silence.silence_id,
        state=state,  # type: ignore[arg-type]
        matchers=tuple(map(str, silence.matchers)),
        author=silence.author,
        reason=silence.reason,
        starts_at=silence.starts_at,
        ends_at=silence.ends_at,
        recurrence=silence.recurrence,
        duration=durations.write(silence.duration) if silence.duration else None,
        time_zone=silence.time_zone,
        until_resolved=silence.until_resolved,
        external_id=silence.external_id,
        created_at=silence.created_at,
        cancelled_at=silence.cancelled_at,
        cancelled_by=silence.cancelled_by,
    )
