"""Texts of notifications, from Jinja templates in a sandbox.

A template comes from this package, or from a file beside the routing file: ``text.j2``,
``html.j2``, ``chat.j2``. If there are such files, a process with limits renders. Texts of
alerts are values, never templates.
"""

import threading
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

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
        """Render a notification.

        Raises:
            DeliveryError: a template has an error.
        """
        body = self._body(_values(message, self._links), form)
        limit = MAX_BODY[form]
        if len(body) > limit:
            # HTML cannot be cut anywhere, so only a template of our users' can be too long.
            if form == "html":
                raise DeliveryError(
                    f"html.j2 produces more than {limit} characters", permanent=True
                )
            body = body[: limit - 1] + "…"
        title = headline(message.content)
        subject = escaping.chat(title) if form == "chat" else escaping.subject(title)
        return Rendered(subject, body.strip() + "\n")

    def _body(self, values: dict[str, Any], form: Format) -> str:
        if self._folder is not None and any(self._folder.glob("*.j2")):
            return template_process.render(
                self._folder, form, values, max_length=MAX_BODY[form] + 1
            )
        try:
            with self._lock:
                template = self._environments[form].get_template(f"{form}.j2")
            return template.render(with_links(values))
        except TEMPLATE_ERRORS as error:
            raise DeliveryError(f"the template {form}.j2 failed: {first_line(error)}") from None


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
