"""From the routing file to receivers. A file in git never holds a secret, only a secret's name."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from notification_service.routing.document import Node
from notification_service.routing.tree import Apprise, OnCall, Receiver, Webhook

_RECEIVER: Final = (
    "name", "webhook", "apprise", "on_call", "send_resolved", "format",
    "rate_per_minute", "burst", "digest_above", "max_attempts",
)  # fmt: skip
_TARGETS: Final = ("webhook", "apprise", "on_call")
#: The name of a receiver is a value of metrics and part of paths.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
#: The name of a file in the folder of secrets.
_SECRET: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}")
_NUMBERS: Final = {
    "rate_per_minute": (1, 6000),
    "burst": (1, 1000),
    "digest_above": (1, 10_000),
    "max_attempts": (1, 50),
}


def read_receiver(node: Node, used: list[tuple[Node, str]]) -> Receiver:
    """One receiver. Names of other receivers are added to ``used``, to be checked later."""
    fields = node.mapping(_RECEIVER, required=("name",))
    name = fields["name"].text("none") if "name" in fields else "none"
    if not _NAME.fullmatch(name):
        fields["name"].fault("must be lower-case letters, digits and dashes, at most 63")
    targets = [kind for kind in _TARGETS if kind in fields]
    if len(targets) != 1:
        node.fault(f"must have exactly one of {', '.join(_TARGETS)}")
    values: dict[str, Any] = {
        option: fields[option].number(*bounds)
        for option, bounds in _NUMBERS.items()
        if option in fields
    }
    if "send_resolved" in fields:
        values["send_resolved"] = fields["send_resolved"].boolean()
    if "format" in fields:
        values["format"] = fields["format"].choice(("text", "html", "chat"))
    target: Webhook | Apprise | OnCall = Apprise("none")
    if targets:
        target = _READERS[targets[0]](fields[targets[0]], used)
    return Receiver(name=name, target=target, **values)


def _webhook(node: Node, used: list[tuple[Node, str]]) -> Webhook:
    del used
    fields = node.mapping(("url", "url_secret", "key_secret"), required=("key_secret",))
    if ("url" in fields) == ("url_secret" in fields):
        node.fault("must have exactly one of url, url_secret")
    url = fields["url"].text("") if "url" in fields else None
    if url:
        node.faults.catch(fields["url"], lambda: check_url(url), None)
    return Webhook(
        url,
        _secret(fields["url_secret"]) if "url_secret" in fields else None,
        _secret(fields["key_secret"]) if "key_secret" in fields else "none",
    )


def _apprise(node: Node, used: list[tuple[Node, str]]) -> Apprise:
    del used
    fields = node.mapping(("secret",), required=("secret",))
    return Apprise(_secret(fields["secret"]) if "secret" in fields else "none")


def _on_call(node: Node, used: list[tuple[Node, str]]) -> OnCall:
    fields = node.mapping(("schedule", "fallback"), required=("schedule", "fallback"))
    schedule = fields["schedule"].text() if "schedule" in fields else ""
    fallback = ""
    if "fallback" in fields:
        fallback = fields["fallback"].text()
        used.append((fields["fallback"], fallback))
    return OnCall(schedule, fallback)


_READERS: Final[dict[str, Any]] = {"webhook": _webhook, "apprise": _apprise, "on_call": _on_call}


def check_url(url: str) -> None:
    """Check the form of a webhook's URL.

    Raises:
        ValueError: it is not an http or https URL, or it contains a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL with http or https and a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a password; put the URL in a secret (url_secret)")
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ValueError("must not contain spaces or control characters")


def _secret(node: Node) -> str:
    name = node.text("none")
    if not _SECRET.fullmatch(name):
        node.fault("must be the name of a secret: a file in RECEIVER_SECRETS_DIR")
    return name
