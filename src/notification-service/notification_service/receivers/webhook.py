"""Our own webhook: JSON by POST, signed, to checked addresses only."""

import datetime as dt
import email.utils
import ssl
import time
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpcore
import msgspec

from notification_service.outbox.content import headline
from notification_service.receivers import signing
from notification_service.receivers.delivery import DeliveryError, Message
from notification_service.receivers.links import Links
from notification_service.receivers.network import Addresses, AddressRefused, CheckedBackend
from notification_service.receivers.secrets import SecretFiles
from notification_service.routing.receivers_reading import check_url
from notification_service.routing.tree import Webhook

_TIMEOUT_SECONDS: Final = 5.0
#: Time for one attempt with all redirects. It is much less than the lease of a claim.
_TOTAL_SECONDS: Final = 20.0
_MAX_REDIRECTS: Final = 3
_MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_RETRY_AFTER: Final = dt.timedelta(hours=1)
#: Only these keep the method and the body.
_REDIRECTS: Final = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
_TEMPORARY: Final = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)


class WebhookSender:
    """Sends to one webhook."""

    def __init__(
        self, target: Webhook, *, secrets: SecretFiles, addresses: Addresses, links: Links
    ) -> None:
        self._target = target
        self._secrets = secrets
        self._links = links
        self._addresses = addresses

    def send(self, message: Message) -> str:
        """POST the notification. Returns the host that took it."""
        url = self._url()
        key = self._key()
        body = msgspec.json.encode(payload(message, self._links))
        deadline = time.monotonic() + _TOTAL_SECONDS
        for _ in range(_MAX_REDIRECTS + 1):
            headers = signing.headers(message.notification_id, int(time.time()), body, key)
            status, answer = self._post(url, headers, body, deadline)
            if status not in _REDIRECTS:
                _judge(status, answer)
                return urlsplit(url).hostname or "webhook"
            url = _redirected(url, answer.get("location", ""))
        raise DeliveryError(f"the webhook redirects more than {_MAX_REDIRECTS} times")

    def _url(self) -> str:
        if self._target.url is not None:
            return self._target.url
        url = self._secrets.read(self._target.url_secret or "")
        try:
            check_url(url)
        except ValueError as error:
            raise DeliveryError(
                f"the URL in the secret {self._target.url_secret} {error}"
            ) from None
        return url

    def _key(self) -> bytes:
        try:
            return signing.key_of(self._secrets.read(self._target.key_secret))
        except signing.SigningKeyError as error:
            raise DeliveryError(f"{error} (secret {self._target.key_secret})") from None

    def _post(
        self, url: str, headers: dict[str, str], body: bytes, deadline: float
    ) -> tuple[int, dict[str, str]]:
        backend = CheckedBackend(self._addresses, deadline=deadline)
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), _TIMEOUT_SECONDS)
        sent: dict[str, str] = {
            "content-type": "application/json",
            "user-agent": "AuditFlow-notification-service",
            "host": urlsplit(url).netloc,
            "content-length": str(len(body)),
            "connection": "close",
            **headers,
        }
        try:
            with (
                httpcore.ConnectionPool(
                    ssl_context=ssl.create_default_context(), network_backend=backend
                ) as pool,
                pool.stream(
                    "POST",
                    url,
                    headers=list(sent.items()),
                    content=body,
                    extensions={"timeout": timeout},
                ) as response,
            ):
                _read(response)
                answered = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                return response.status, answered
        except AddressRefused as error:
            raise DeliveryError(str(error), permanent=True) from None
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            # The text of the error may contain the URL, and with it a secret.
            raise DeliveryError(f"the webhook did not answer: {type(error).__name__}") from None
        except (OSError, ValueError, httpcore.UnsupportedProtocol) as error:
            raise DeliveryError(f"the webhook cannot be reached: {type(error).__name__}") from None


def _read(response: httpcore.Response) -> None:
    """Read the answer, as far as it is needed to know that the receiver has finished."""
    size = 0
    for chunk in response.iter_stream():
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            return


def _judge(status: int, answer: dict[str, str]) -> None:
    if 200 <= status < 300:
        return
    temporary = status >= 500 or status in _TEMPORARY
    raise DeliveryError(
        f"the webhook answered {status}",
        permanent=not temporary,
        retry_after=_retry_after(answer.get("retry-after", "")) if temporary else None,
    )


def _retry_after(text: str) -> dt.timedelta | None:
    """Seconds, or a date."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        wait = dt.timedelta(seconds=int(text))
    else:
        try:
            at = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        if at.tzinfo is None:
            return None
        wait = at - dt.datetime.now(dt.UTC)
    return min(max(wait, dt.timedelta()), _MAX_RETRY_AFTER)


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    try:
        check_url(target)
    except ValueError as error:
        raise DeliveryError(f"the target of the redirect {error}", permanent=True) from None
    if url.startswith("https:") and not target.startswith("https:"):
        raise DeliveryError("the webhook redirects from https to http", permanent=True)
    return target


def payload(message: Message, links: Links) -> dict[str, Any]:
    """The JSON document that a webhook receives; docs/how-to/send-notifications.md describes it."""
    content = msgspec.to_builtins(message.content)
    for alert in content["alerts"]:
        alert["url"] = links.alert(alert["alert_id"])
    return {
        "version": 1,
        "title": headline(message.content),
        "notification_id": str(message.notification_id),
        "receiver": message.receiver,
        "created_at": message.created_at.isoformat(),
        "url": links.alerts(),
        **content,
    }
