"""Examples of messages for the OpenAPI document. They are models, so the types check them."""

import datetime as dt
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw

from auditflow.contract.access import (
    IssuedToken,
    Me,
    Role,
    Token,
    TokenList,
    TokenRequest,
    User,
    UserList,
    UserRequest,
)
from auditflow.contract.alert import (
    Action,
    AlertChanges,
    AlertDetail,
    AlertList,
    AlertSummary,
    BySeverity,
    Counts,
    EventPage,
    EventRow,
    Facets,
    FacetValue,
    FindingEvidence,
    FindingView,
    Risk,
    RiskPart,
    Rule,
    Status,
    Total,
    Verdict,
)
from auditflow.contract.audit import (
    AuditLogList,
    AuditLogSummary,
    AuditTrail,
    ConsistencyProof,
    FindingDocument,
    FindingDocuments,
    InclusionProof,
    StoredReports,
    TrailEntry,
    TrailReport,
    TrailReports,
)
from auditflow.contract.event import Event, Severity
from auditflow.contract.finding import EventRef
from auditflow.contract.level import Level
from auditflow.contract.pipeline import (
    DeadLetterDetail,
    DeadLetterList,
    DeadLetterRequest,
    DeadLetterResult,
    DeadLetterView,
    QueueList,
    QueueView,
    ReasonCount,
)
from auditflow.contract.saved_view import SavedView, SavedViewList, SavedViewRequest
from auditflow.contract.second_factor import (
    SecondFactor,
    SecondFactorRequest,
    UsedRecoveryCode,
    UsedStep,
)
from auditflow.contract.statistics import (
    Opened,
    Overview,
    ResponseTimes,
    RiskyEntity,
    RuleActivity,
    RuleStatistics,
)
from auditflow.contract.triage import (
    AssignRequest,
    BulkRequest,
    BulkResult,
    CommentRequest,
    History,
    HistoryEntry,
    ResolveRequest,
    SnoozeRequest,
    TransitionProblem,
)
from auditflow.http.openapi import PathParameter
from auditflow.http.problem import Fault, Problem
from notification_service import export
from notification_service.api import notification_examples

_FIRST: Final = dt.datetime(2026, 1, 31, 8, 0, 12, tzinfo=dt.UTC)
_LAST: Final = dt.datetime(2026, 1, 31, 8, 0, 41, tzinfo=dt.UTC)
_STORED: Final = dt.datetime(2026, 1, 31, 8, 0, 42, 113000, tzinfo=dt.UTC)

SUMMARY: Final = AlertSummary(
    level=Level.HIGH,
    alert_id=UUID("0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10"),
    status=Status.OPEN,
    severity=Severity.WARNING,
    rule=Rule(
        id="failed-login-burst",
        title="Burst of failed logins",
        level="high",
        tags=("attack.credential_access", "attack.t1110"),
        runbook=None,
    ),
    title="Burst of failed logins",
    description="7 failed logins of alice on web-1 within 60 seconds",
    entity={"user_id": "alice", "server_hostname": "web-1"},
    actor="alice",
    client_ip="203.0.113.7",
    resource="sshd",
    server_hostname="web-1",
    environment="prod",
    count=7,
    finding_count=1,
    first_seen=_FIRST,
    last_seen=_LAST,
    opened_at=_STORED,
    updated_at=_STORED,
    approximate=False,
    previous_alert_id=None,
)

_EVENT: Final = {
    "event_id": "4b1f",
    "timestamp": "2026-01-31T08:00:12Z",
    "event_type": "user_login",
    "user_id": "alice",
    "action_result": "FAILURE",
}

_FINDING: Final = FindingView(
    finding_id=UUID("9f0c5a0e-6f7d-5d8e-8a0b-1f2e3d4c5b6a"),
    bucket_start=dt.datetime(2026, 1, 31, 8, tzinfo=dt.UTC),
    first_seen=_FIRST,
    last_seen=_LAST,
    count=7,
    severity=Severity.CRITICAL,
    description=SUMMARY.description,
    rule_revision="1",
    correlation_id="req-81",
    approximate=False,
    evidence=FindingEvidence(
        events=(EventRef(_FIRST, "4b1f"), EventRef(_LAST, "4b25")),
        first_event=Raw(msgspec.json.encode(_EVENT)),
        last_event=Raw(
            msgspec.json.encode({**_EVENT, "event_id": "4b25", "timestamp": "2026-01-31T08:00:41Z"})
        ),
        events_omitted=False,
    ),
)

_VIEW: Final = SavedView(
    view_id=UUID("3f0c8a52-6c56-4a0f-9a57-0e5b7c1d2e3f"),
    name="Critical in prod",
    query="status=open&level=critical&environment=prod",
    shared=True,
    owner="alice",
    created_at=_STORED,
)
#: Not a secret: 120 characters of the right form.
_ENCRYPTED: Final = "AAAAAAAAAAAAAAAA" * 7 + "AAAAAAA="
_DEAD_LETTER: Final = DeadLetterView(
    key="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    kind="contract",
    reason="timestamp: is required",
    at="2026-01-31T08:00:42.113+00:00",
    message_id="web-1/4711",
    size=24,
    beginning='{"event_type": "login"}',
)
_TOKEN: Final = Token(
    token_id=UUID("7a0d5f2c-3c0e-4c3f-9b57-0c1f3a5c2d11"),
    name="SIEM export",
    scopes=("alerts:read",),
    created_by="alice",
    created_at=_STORED,
    expires_at=_STORED + dt.timedelta(days=90),
)


class EventStream(str):
    """Server-sent events: `event: alert`, with the number of the change as `id`."""


class ExportFile(str):
    """The alerts in the requested format."""


class SignedCheckpoint(str):
    """A signed note: the origin, the size, the root in base64, an empty line, the signature."""


class AuditTile(bytes):
    """A tile: hashes of 32 bytes; or entries, each with its length in two bytes before it."""


#: The content types of answers that are not JSON.
CONTENT_TYPES: Final[dict[type, tuple[str, ...]]] = {
    EventStream: ("text/event-stream",),
    ExportFile: tuple(export.CONTENT_TYPES.values()),
    SignedCheckpoint: ("text/plain",),
    AuditTile: ("application/octet-stream",),
}

#: Path parameters by name.
PATH_PARAMETERS: Final[dict[str, PathParameter]] = {
    **notification_examples.PATH_PARAMETERS,
    "alert_id": PathParameter(
        {"type": "string", "format": "uuid"},
        "The alert_id of a list.",
        str(SUMMARY.alert_id),
    ),
    "name": PathParameter(
        {"type": "string", "minLength": 1, "maxLength": 200},
        "The name of a person.",
        "alice",
    ),
    "view_id": PathParameter(
        {"type": "string", "format": "uuid"},
        "The view_id of a list.",
        str(_VIEW.view_id),
    ),
    "token_id": PathParameter(
        {"type": "string", "format": "uuid"},
        "The token_id of a list.",
        "7a0d5f2c-3c0e-4c3f-9b57-0c1f3a5c2d11",
    ),
    "queue": PathParameter(
        {"type": "string", "enum": ["audit_events", "audit_alerts", "audit_archive"]},
        "The name of a work queue.",
        "audit_events",
    ),
    "key": PathParameter(
        {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "The key of a dead letter.",
        _DEAD_LETTER.key,
    ),
    "log": PathParameter(
        {"type": "string", "pattern": "^[a-z]{1,20}$"},
        "The name of an audit log.",
        "history",
    ),
    "tile": PathParameter(
        {
            "type": "string",
            "pattern": "^(entries|[0-9]{1,2})/(x[0-9]{3}/)*[0-9]{3}(\\.p/[0-9]{1,3})?$",
        },
        "The level or `entries`, and the number of the tile in groups of three digits.",
        "entries/000.p/1",
    ),
    "number": PathParameter(
        {"type": "integer", "minimum": 1, "maximum": 10**15},
        "The number of an entry.",
        "1",
    ),
    "bulk_id": PathParameter(
        {"type": "string", "format": "uuid"},
        "The bulk_id of a result.",
        "5f3a1c6e-9f7a-4a43-8f4c-2b8f0a7f6b11",
    ),
}

#: An example for each model that has one.
OF: Final[dict[type, Any]] = {
    **notification_examples.OF,
    AlertList: AlertList(
        alerts=[SUMMARY],
        next_cursor=None,
        counts=Counts(1, 1, 0, 0, by_severity=BySeverity(CRITICAL=0, WARNING=1, INFO=0)),
    ),
    AlertSummary: SUMMARY,
    History: History(
        (
            HistoryEntry(
                number=17,
                alert_id=SUMMARY.alert_id,
                at=_STORED,
                actor="alice",
                actor_kind="person",
                action=Action.RESOLVE,
                from_status=Status.OPEN,
                to_status=Status.RESOLVED,
                verdict=Verdict.FALSE_POSITIVE,
                comment="A planned penetration test.",
                hash="9f" * 32,
            ),
        )
    ),
    AuditTrail: AuditTrail(
        (
            TrailEntry(
                number=4711,
                at=_STORED,
                actor="alice",
                actor_kind="person",
                action="alert shown",
                outcome="done",
                address="203.0.113.7",
                target=str(SUMMARY.alert_id),
                status=200,
                correlation_id="req-81",
            ),
        ),
        None,
    ),
    SecondFactor: SecondFactor(enabled=True, encrypted_secret=_ENCRYPTED, recovery_codes=10),
    SecondFactorRequest: SecondFactorRequest(
        encrypted_secret=_ENCRYPTED, recovery_hashes=("00" * 32, "01" * 32)
    ),
    UsedStep: UsedStep(59_000_000),
    UsedRecoveryCode: UsedRecoveryCode("00" * 32),
    SavedView: _VIEW,
    SavedViewList: SavedViewList((_VIEW,)),
    SavedViewRequest: SavedViewRequest(name=_VIEW.name, query=_VIEW.query, shared=True),
    QueueList: QueueList(
        (QueueView(name="audit_events", messages=12, consumers=2, dead_letters=1),)
    ),
    DeadLetterList: DeadLetterList(
        queue="audit_events",
        total=1,
        examined=1,
        reasons=(ReasonCount(_DEAD_LETTER.reason, 1),),
        letters=(_DEAD_LETTER,),
    ),
    DeadLetterDetail: DeadLetterDetail(
        queue="audit_events",
        letter=_DEAD_LETTER,
        headers={"x-auditflow-service": "audit-log-analysis"},
        body='{\n  "event_type": "login"\n}',
    ),
    DeadLetterRequest: DeadLetterRequest(keys=(_DEAD_LETTER.key,), comment="Fixed the source."),
    DeadLetterResult: DeadLetterResult(1, 0, complete=True),
    StoredReports: StoredReports(1),
    TrailReports: TrailReports(
        (
            TrailReport(
                actor="alice",
                action="sign-in refused",
                outcome="refused",
                address="203.0.113.7",
            ),
        )
    ),
    AuditLogList: AuditLogList(
        (
            AuditLogSummary(
                name="history",
                origin="auditflow/history",
                size=1042,
                public_key="auditflow+2bbd0bd0+AQ3pSY4KCzJDzlp8lSFjhj63VLyTqYWBCLR4kLLSwx9v",
            ),
        )
    ),
    InclusionProof: InclusionProof(
        number=1, size=2, entry='{"number":1}', leaf_hash=bytes(32), proof=(bytes(32),)
    ),
    FindingDocuments: FindingDocuments(
        documents=(
            FindingDocument(
                finding_id=UUID("6f1e2d9b-7a10-5b63-9a53-0c9d2c112f4e"),
                document='{"bucket_start":"2026-01-31T08:00:00Z","count":7}',
            ),
        ),
        next_after=None,
    ),
    ConsistencyProof: ConsistencyProof(old_size=1, size=2, proof=(bytes(32),)),
    AlertChanges: AlertChanges((SUMMARY,), last=1042),
    Total: Total(42),
    Facets: Facets(
        total=42,
        status=(FacetValue("open", 40), FacetValue("resolved", 2)),
        rule=(FacetValue("failed-login-burst", 42, "Burst of failed logins"),),
        technique=(FacetValue("T1110", 42),),
        actor=(FacetValue("alice", 30), FacetValue("bob", 12)),
        ip=(FacetValue("203.0.113.7", 42),),
    ),
    Risk: Risk(
        kind="user",
        value="alice",
        risk=30,
        alerts=1,
        parts=(
            RiskPart(
                alert_id=SUMMARY.alert_id,
                title=SUMMARY.title,
                level=Level.HIGH,
                points=30,
                last_seen=_LAST,
            ),
        ),
    ),
    Overview: Overview(
        hours=(Opened(_FIRST, Level.HIGH, 3),),
        days=(Opened(_FIRST, Level.HIGH, 12),),
        users=(RiskyEntity("alice", 130),),
        hosts=(RiskyEntity("web-01", 40),),
        addresses=(RiskyEntity("203.0.113.7", 30),),
        response_times=ResponseTimes(
            mean_to_acknowledge=240.0, acknowledged=10, mean_to_resolve=1800.0, resolved=8
        ),
    ),
    RuleStatistics: RuleStatistics(
        days=3,
        first_day=_FIRST,
        rules=(
            RuleActivity(
                rule="failed-login-burst",
                title="Burst of failed logins",
                alerts=12,
                unresolved=4,
                true_positive=2,
                false_positive=6,
                daily=(5, 4, 3),
                last_opened_at=_LAST,
            ),
        ),
    ),
    EventPage: EventPage(
        (
            EventRow(
                timestamp=_FIRST,
                event_id="4b1f",
                event_type="user_login",
                user="alice",
                result="FAILURE",
                has_record=True,
            ),
        )
    ),
    Me: Me("alice", "person", Role.ANALYST, ("alerts:read", "alerts:write")),
    User: User(name="alice", role=Role.ANALYST, created_at=_STORED),
    UserList: UserList((User(name="alice", role=Role.ANALYST, created_at=_STORED),)),
    UserRequest: UserRequest(Role.LEAD),
    TokenRequest: TokenRequest(name="SIEM export", scopes=("alerts:read",)),
    Token: _TOKEN,
    TokenList: TokenList((_TOKEN,)),
    IssuedToken: IssuedToken(token=_TOKEN, secret="aft_..."),  # noqa: S106 - an example
    Event: Event(
        event_id="4b1f",
        timestamp=_FIRST,
        event_type="user_login",
        user_id="alice",
        action_result="FAILURE",
    ),
    BulkResult: BulkResult(UUID("5f3a1c6e-9f7a-4a43-8f4c-2b8f0a7f6b11"), changed=42),
    AssignRequest: AssignRequest(assignee="alice"),
    CommentRequest: CommentRequest(comment="The user changed the password."),
    ResolveRequest: ResolveRequest(verdict=Verdict.FALSE_POSITIVE, comment="A planned test."),
    SnoozeRequest: SnoozeRequest(until_escalation=True),
    BulkRequest: BulkRequest(
        action="resolve",
        filter={"rule": "failed-login-burst", "status": "open"},
        verdict=Verdict.BENIGN,
        comment="A load test.",
    ),
    TransitionProblem: TransitionProblem(
        status=409,
        title="The alert does not allow this action",
        detail="An alert that is resolved does not allow the action acknowledge.",
        allowed_actions=(Action.COMMENT, Action.RESOLVE, Action.REOPEN),
    ),
    AlertDetail: AlertDetail(
        **{name: getattr(SUMMARY, name) for name in SUMMARY.__struct_fields__},
        findings=[_FINDING],
        findings_total=1,
        allowed_actions=(Action.ACKNOWLEDGE, Action.ASSIGN, Action.COMMENT, Action.RESOLVE),
    ),
    Problem: Problem(
        status=400,
        title="Invalid parameters",
        detail="limit: must be an integer from 1 to 200",
        errors=(Fault("limit", "must be an integer from 1 to 200"),),
    ),
}
