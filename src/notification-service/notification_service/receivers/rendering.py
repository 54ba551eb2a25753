"""Texts of notifications, from Jinja templates in a sandbox.

A template comes from this package, or from a file beside the routing file: ``text.j2``,
``html.j2``, ``chat.j2``. Texts of alerts are values, never templates.
"""

import threading
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PackageLoader, StrictUndefined
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from msgspec import Struct

from notification_service.outbox.content import headline
from notification_service.receivers import escaping
from notification_service.receivers.delivery import DeliveryError, Message
from notification_service.receivers.links import Links

Format = Literal["text", "html", "chat"]
#: Characters of a rendered body. Chats refuse more, or cut it.
MAX_BODY: Final = {"text": 20_000, "html": 100_000, "chat": 3_500}


class Rendered(Struct, frozen=True):
    """A subject on one line, and a body."""

    subject: str
    body: str


class Templates:
    """Renders notifications. ``folder`` may hold templates that replace those of the package."""

    def __init__(self, links: Links, folder: Path | None = None) -> None:
        package = PackageLoader("notification_service.receivers")
        loaders: list[BaseLoader] = [FileSystemLoader(folder)] if folder else []
        loader = ChoiceLoader([*loaders, package])
        self._links = links
        # An environment is not thread-safe while it compiles.
        self._lock = threading.Lock()
        self._environments = {
            "text": _environment(loader, escaping.clean, autoescape=False),
            "chat": _environment(loader, escaping.chat, autoescape=False),
            "html": _environment(loader, escaping.clean, autoescape=True),
        }

    def render(self, message: Message, form: Format) -> Rendered:
        """Render a notification.

        Raises:
            DeliveryError: a template has an error.
        """
        values = _values(message, self._links)
        try:
            with self._lock:
                template = self._environments[form].get_template(f"{form}.j2")
            body = template.render(values)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise DeliveryError(f"the template {form}.j2 failed: {_first_line(error)}") from None
        limit = MAX_BODY[form]
        if len(body) > limit:
            # HTML cannot be cut anywhere, so only a template of our users' can be too long.
            if form == "html":
                raise DeliveryError(f"html.j2 makes more than {limit} characters", permanent=True)
            body = body[: limit - 1] + "…"
        title = headline(message.content)
        subject = escaping.chat(title) if form == "chat" else escaping.subject(title)
        return Rendered(subject, body.strip() + "\n")


def _environment(loader: BaseLoader, finalize: Any, *, autoescape: bool) -> Any:
    def safe(value: Any) -> Any:
        ours = isinstance(value, Trusted) or hasattr(value, "__html__")
        return finalize(value) if isinstance(value, str) and not ours else value

    environment = ImmutableSandboxedEnvironment(
        loader=loader,
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every value that a template prints is made harmless; texts of the template are not values.
        finalize=safe,
    )
    environment.filters["clean"] = escaping.clean
    return environment


def _values(message: Message, links: Links) -> dict[str, Any]:
    content = msgspec.to_builtins(message.content)
    for alert in content["alerts"]:
        alert["url"] = Trusted.of(links.alert(alert["alert_id"]))
    return {
        **content,
        "headline": headline(message.content),
        "receiver": message.receiver,
        "notification_id": str(message.notification_id),
        "url": Trusted.of(links.alerts()),
    }


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:200]


class Trusted(str):
    """A text of our own: a link that must stay a link."""

    __slots__ = ()

    @classmethod
    def of(cls, value: str | None) -> "Trusted | None":
        return None if value is None else cls(value)
