"""Chat, e-mail and all else that Apprise supports. Its URLs are secrets and are never printed."""

import hashlib
import logging
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Final

from notification_service.receivers.delivery import DeliveryError, Message
from notification_service.receivers.rendering import Rendered, Templates
from notification_service.receivers.secrets import SecretFiles
from notification_service.receivers.template_environment import Format
from notification_service.routing.tree import Apprise

#: URLs in one secret.
MAX_URLS: Final = 20
#: For connecting and for reading, in seconds: an attempt must end before its lease.
_TIMEOUTS: Final = {"socket_connect_timeout": 5.0, "socket_read_timeout": 10.0}
#: Header of an e-mail with the identifier of the notification, which is the same in a repeat.
KEY_HEADER: Final = "Idempotency-Key"
_MAX_REASON: Final = 200
#: Time after which an attempt sends to no further URL. It ends before the lease of its claim.
_TOTAL_SECONDS: Final = 30.0
#: Actions of a service that open an incident.
_OPENING: Final = ("trigger", "create")

_loading = threading.Lock()


class _Reasons(logging.Handler):
    """Keeps the warnings of the attempt that runs in the same thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._of_thread = threading.local()

    def begin(self) -> None:
        """Forget what an earlier attempt in this thread said."""
        self._of_thread.lines = []

    def lines(self) -> list[str]:
        """The warnings since ``begin``."""
        return list(getattr(self._of_thread, "lines", ()))

    def emit(self, record: logging.LogRecord) -> None:
        lines = getattr(self._of_thread, "lines", None)
        if lines is not None and len(lines) < 5:
            lines.append(record.getMessage())


_reasons = _Reasons()


class AppriseSender:
    """Sends to the URLs of one secret."""

    def __init__(
        self,
        target: Apprise,
        *,
        secrets: SecretFiles,
        templates: Templates,
        form: Format | None = None,
    ) -> None:
        self._target = target
        self._secrets = secrets
        self._templates = templates
        self._form = form

    def send(self, message: Message) -> str:
        """Send to every URL. Returns the names of the services.

        Raises:
            DeliveryError: some of them failed. Its ``delivered`` names the targets of all URLs that
                were reached. The next attempt skips them.
        """
        urls = self._secrets.read(self._target.secret).split()
        if len(urls) > MAX_URLS:
            raise DeliveryError(f"the secret {self._target.secret} has more than {MAX_URLS} URLs")
        names, failures = [], []
        delivered = set(message.delivered)
        rendered = cache(partial(self._templates.render, message))
        deadline = time.monotonic() + _TOTAL_SECONDS
        for number, url in enumerate(urls, start=1):
            if time.monotonic() > deadline:
                failures.append(DeliveryError("the next attempt sends to the other URLs"))
                break
            try:
                names.append(self._send_to(url, number, message, rendered, delivered))
            except DeliveryError as error:
                failures.append(error)
        if failures:
            raise DeliveryError(
                "; ".join(dict.fromkeys(str(error) for error in failures)),
                permanent=all(error.permanent for error in failures),
                delivered=frozenset(delivered),
            )
        return ", ".join(dict.fromkeys(names))

    def _send_to(
        self,
        url: str,
        number: int,
        message: Message,
        render: Callable[[Format], Rendered],
        delivered: set[str],
    ) -> str:
        service, formats = _open(url, self._target.secret, number)
        is_mail = _is_mail(url)
        form: Format = self._form or ("html" if is_mail else "chat")
        if is_mail:
            # A repeat after a crash has the same key, as with a webhook.
            service.headers[KEY_HEADER] = str(message.notification_id)
        _set_key(service, str(message.notification_id))
        rendered = render(form)
        _reasons.begin()
        failed: list[str] = []
        try:
            with _tracked(_Reached(url, delivered)):
                sent = service.notify(
                    title=rendered.subject, body=rendered.body, body_format=formats[form]
                )
        except Exception as error:  # noqa: BLE001 - plugins raise what their libraries raise
            failed.append(type(error).__name__)
            sent = False
        if not sent:
            why = redact("; ".join([*_reasons.lines(), *failed]), url)[:_MAX_REASON]
            raise DeliveryError(
                f"{_name(service)} did not accept the notification" + (f": {why}" if why else "")
            )
        return _name(service)


def _open(url: str, secret: str, number: int) -> tuple[Any, dict[str, Any]]:
    """The service of a URL, and Apprise's names of our formats. Apprise is loaded when needed."""
    with _loading, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import apprise  # noqa: PLC0415 - 30 MiB, which most installations save

        # Its debug messages contain URLs, which must not reach a log.
        logger = logging.getLogger("apprise")
        logger.handlers, logger.propagate = [_reasons], False
        logger.setLevel(logging.WARNING)
        service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if service is None:
        raise DeliveryError(f"Apprise does not support URL {number} in the secret {secret}")
    for name, seconds in _TIMEOUTS.items():
        setattr(service, name, min(getattr(service, name), seconds))
    formats = {
        "text": apprise.NotifyFormat.TEXT,
        "html": apprise.NotifyFormat.HTML,
        "chat": apprise.NotifyFormat.TEXT,
    }
    return service, formats


class _Reached:
    """The targets of a URL that took a notification, in Apprise's form of a set.

    The names are hashes, because targets may be secrets.
    """

    def __init__(self, url: str, names: set[str]) -> None:
        self._url = url
        self._names = names

    def __contains__(self, target: object) -> bool:
        return self._name(target) in self._names

    def add(self, target: object) -> None:
        """Record a target."""
        self._names.add(self._name(target))

    def _name(self, target: object) -> str:
        return hashlib.sha256(f"{self._url}\0{target!r}".encode()).hexdigest()[:24]


@contextmanager
def _tracked(reached: _Reached) -> Iterator[None]:
    """Let Apprise skip the targets that earlier attempts reached, and record the others."""
    from apprise.plugins import base  # noqa: PLC0415 - see ``_open``

    token = base._delivery_tracker.set(reached)  # type: ignore[arg-type]
    try:
        yield
    finally:
        base._delivery_tracker.reset(token)


def _set_key(service: Any, key: str) -> None:
    """Set the key by which PagerDuty and similar services recognize a repeat, if the URL has none.

    With other actions, these services make a key from the text.
    """
    if getattr(service, "dedup", "") is None and getattr(service, "action", None) in _OPENING:
        service.dedup = key


def _name(service: Any) -> str:
    return str(service.service_name)[:50]


def _is_mail(url: str) -> bool:
    return url.lower().startswith(("mailto:", "mailtos:"))


def redact(text: str, url: str) -> str:
    """A text without any part of a URL that may be secret."""
    for part in sorted(set(re.split(r"[/:@?&=,;#%+\s]", url)), key=len, reverse=True):
        if len(part) > 3:
            text = text.replace(part, "***")
    return " ".join(text.split())
