"""Chat, e-mail and all else that Apprise supports. Its URLs are secrets and are never printed."""

import logging
import re
import threading
import warnings
from typing import Any, Final

from notification_service.receivers.delivery import DeliveryError, Message
from notification_service.receivers.rendering import Templates
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
            DeliveryError: one of them failed. All are sent to again then.
        """
        urls = self._secrets.read(self._target.secret).split()
        if len(urls) > MAX_URLS:
            raise DeliveryError(f"the secret {self._target.secret} has more than {MAX_URLS} URLs")
        names = []
        for number, url in enumerate(urls, start=1):
            names.append(self._send_to(url, number, message))
        return ", ".join(dict.fromkeys(names))

    def _send_to(self, url: str, number: int, message: Message) -> str:
        service, formats = _open(url, self._target.secret, number)
        is_mail = _is_mail(url)
        form: Format = self._form or ("html" if is_mail else "chat")
        if is_mail:
            # A repeat after a crash has the same key, as with a webhook.
            service.headers[KEY_HEADER] = str(message.notification_id)
        rendered = self._templates.render(message, form)
        _reasons.begin()
        failed: list[str] = []
        try:
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
