"""The pipeline: lag of the queues, and dead letters, which can be replayed or discarded."""

from typing import Final

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from auditflow.contract.access import Role
from auditflow.contract.pipeline import MAX_REASON, DeadLetterResult
from auditflow.telemetry import logs
from event_audit_dashboard.apis.pipeline import Action, PipelineApi
from event_audit_dashboard.errors import Conflict, FilterRejected, NotAllowed, NotFound
from event_audit_dashboard.health_of_parts import PartsHealth
from event_audit_dashboard.ledgers import STATES, Ledgers
from event_audit_dashboard.localization.translation import N_, Texts, gettext, ngettext
from event_audit_dashboard.presentation.text import sentence, shorten
from event_audit_dashboard.views.common import caller, notify, person

#: What the messages of a queue are.
CONTENTS: Final = Texts(
    {
        "audit_events": N_("Events, for the analysis"),
        "audit_alerts": N_("Findings, for the notification service"),
        "audit_archive": N_("Events and their outcome, for the archive"),
    }
)
#: The role that an action requires. The API checks it; the pages hide what it would reject.
REQUIRED: Final[dict[Action, Role]] = {"replay": Role.LEAD, "discard": Role.ADMIN}
#: Rows of the ledger, and differences, on the page.
MAX_ROWS: Final = 72
MAX_COMMENT: Final = 400
#: Longer bodies are shown in part. Copy and download are complete.
MAX_SHOWN: Final = 20_000
_REJECTED: Final = (Conflict, FilterRejected, NotAllowed, NotFound)
_log = logs.get(__name__)


def blueprint(api: PipelineApi, parts: PartsHealth, ledgers: Ledgers) -> Blueprint:
    """``/pipeline`` and the pages about dead letters."""
    pages = Blueprint("pipeline", __name__)

    @pages.get("/pipeline")
    def show() -> ResponseReturnValue:
        try:
            queues, problem = api.queues(caller()), ""
        except NotFound as error:
            queues, problem = (), sentence(error)
        return render_template(
            "pipeline.html",
            queues=queues,
            problem=problem,
            contents=CONTENTS,
            parts=parts.parts(),
            ledger=ledgers.read(caller()),
            states=STATES,
            max_rows=MAX_ROWS,
        )

    @pages.get("/pipeline/dead-letters/<queue>")
    def letters(queue: str) -> ResponseReturnValue:
        reason = request.args.get("reason", "")[:MAX_REASON]
        try:
            found = api.letters(queue, caller(), reason=reason)
        except NotAllowed as error:
            return _not_allowed(error)
        return render_template("dead_letters.html", found=found, reason=reason, required=REQUIRED)

    @pages.get("/pipeline/dead-letters/<queue>/<key>")
    def letter(queue: str, key: str) -> ResponseReturnValue:
        try:
            found = api.letter(queue, key, caller())
        except NotAllowed as error:
            return _not_allowed(error)
        if request.args.get("format") == "text":
            # Never as HTML: the body is what an attacker may have sent.
            headers = {"Content-Disposition": f'attachment; filename="dead-letter-{key[:32]}.txt"'}
            return Response(found.body, 200, headers, content_type="text/plain; charset=utf-8")
        return render_template(
            "dead_letter.html",
            found=found,
            body=found.body[:MAX_SHOWN],
            left_out=max(0, len(found.body) - MAX_SHOWN),
            raw_url=url_for("pipeline.letter", queue=queue, key=key, format="text"),
            required=REQUIRED,
        )

    @pages.post("/pipeline/dead-letters/<queue>")
    def act(queue: str) -> ResponseReturnValue:
        """Show what an action would do; with ``confirmed``, do it."""
        back = redirect(url_for("pipeline.letters", queue=queue), 303)
        action = request.form.get("do", "")
        keys = request.form.getlist("key")
        reason = request.form.get("reason") if request.form.get("scope") == "reason" else None
        if action not in REQUIRED or not (keys or reason is not None):
            notify(gettext("Select at least one dead letter."), error=True)
            return back
        if reason is not None:
            keys = []
        if request.form.get("confirmed") != "yes":
            return render_template(
                "dead_letters_confirm.html", queue=queue, action=action, keys=keys, reason=reason
            )
        comment = request.form.get("comment", "").strip()[:MAX_COMMENT]
        try:
            result = api.change(action, queue, caller(), keys=keys, reason=reason, comment=comment)
        except _REJECTED as error:
            notify(sentence(error), error=True)
            return back
        _log.warning(
            "dead letters changed", action=action, queue=queue, changed=result.changed,
            reason=reason, user=person(),
        )  # fmt: skip
        notify(_text(action, result), error=not result.changed)
        return back

    return pages


def _text(action: str, result: DeadLetterResult) -> str:
    if action == "replay":
        done = ngettext(
            "%(count)s dead letter replayed.", "%(count)s dead letters replayed.", result.changed
        )
    else:
        done = ngettext(
            "%(count)s dead letter discarded.", "%(count)s dead letters discarded.", result.changed
        )
    left = ngettext("%(count)s remains.", "%(count)s remain.", result.left)
    if result.complete:
        return f"{done} {left}"
    rest = gettext(
        "The time limit was reached before all messages were processed. Repeat the action."
    )
    return f"{done} {left} {rest}"


def _not_allowed(error: NotAllowed) -> ResponseReturnValue:
    return render_template(
        "error.html",
        code=403,
        title=gettext("Not permitted"),
        message=shorten(sentence(error), 300),
        reference="",
    ), 403
