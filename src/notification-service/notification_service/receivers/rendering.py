"""Texts of notifications, from Jinja templates in a sandbox.

A template comes from this package, or from a file beside the routing file: ``text.j2``,
``html.j2``, ``chat.j2``. If there are such files, a process with limits renders. Texts of
alerts are values, never templates. A template that fails for an alert must not keep back a
notification: the template of the package replaces it.
"""

import html
import threading
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from auditflow.telemetry import logs
from notification_service.outbox.content import headline
from notification_service.receivers import escaping, template_process
from notification_service.receivers.delivery import DeliveryError, Message
from notification_service.receivers.links import Links
from notification_service.receivers.template_environment import (
    TEMPLATE_ERRORS,
    Format,
    environment_of,
    first_line,
    with_links,
)

#: Characters of a rendered body. Chats refuse more, or cut it.
MAX_BODY: Final[dict[Format, int]] = {"text": 20_000, "html": 100_000, "chat": 3_500}
log = logs.get(__name__)

FORMATS: Final[tuple[Format, ...]] = ("text", "html", "chat")


class Rendered(Struct, frozen=True):
    """A subject on one line, and a body."""

    subject: str
    body: str


class Templates:
    """Renders notifications. ``folder`` may hold templates that replace those of the package."""

    def __init__(self, links: Links, folder: Path | None = None) -> None:
        self._links = links
        self._folder = folder
        # An environment is not thread-safe while it compiles.
        self._lock = threading.Lock()
        self._environments = {form: environment_of(form, None) for form in FORMATS}

    def render(self, message: Message, form: Format) -> Rendered:
        """Render a notification. If the template of a user fails, the body ends with the reason."""
        values = _values(message, self._links)
        limit = MAX_BODY[form]
        note = ""
        try:
            body = self._of_user(values, form)
        except DeliveryError as error:
            log.warning("template replaced by the default one", error=str(error))
            note = _note(f"This is the default text, because {error}.", form)
            body = None
        if body is None:
            body = self._of_package(values, form)
        if len(body) + len(note) > limit:
            body = body[: limit - len(note) - 1] + "…"
        body += note
        title = headline(message.content)
        subject = escaping.chat(title) if form == "chat" else escaping.subject(title)
        return Rendered(subject, body.strip() + "\n")

    def _of_user(self, values: dict[str, Any], form: Format) -> str | None:
        """The body of a user's template, or None if there is none."""
        if self._folder is None or not any(self._folder.glob("*.j2")):
            return None
        limit = MAX_BODY[form]
        body = template_process.render(self._folder, form, values, max_length=limit + 1)
        if form == "html" and len(body) > limit:  # HTML cannot be cut anywhere
            raise DeliveryError(f"the template html.j2 produces more than {limit} characters")
        return body

    def _of_package(self, values: dict[str, Any], form: Format) -> str:
        try:
            with self._lock:
                template = self._environments[form].get_template(f"{form}.j2")
            return template.render(with_links(values))
        except TEMPLATE_ERRORS as error:
            raise DeliveryError(f"the template {form}.j2 failed: {first_line(error)}") from None


def _note(text: str, form: Format) -> str:
    match form:
        case "html":
            return f"<p>{html.escape(escaping.clean(text))}</p>"
        case "chat":
            return f"\n\n{escaping.chat(text)}"
        case "text":
            return f"\n\n{escaping.clean(text)}"


def _values(message: Message, links: Links) -> dict[str, Any]:
    content = msgspec.to_builtins(message.content)
    for alert in content["alerts"]:
        alert["url"] = links.alert(alert["alert_id"])
    return {
        **content,
        "headline": headline(message.content),
        "receiver": message.receiver,
        "notification_id": str(message.notification_id),
        "url": links.alerts(),
    }
