"""Errors of calls to the notification service. Their texts are shown to users."""

from typing import ClassVar

from auditflow.errors import AuditFlowError
from event_audit_dashboard.localization.translation import gettext


class TranslatedError(AuditFlowError):
    """An error whose text is fit for a page. ``str`` is the English text, for logs."""

    def __init__(self, message: str, /, **values: "str | TranslatedError") -> None:
        """``message`` is a text of the catalogues, with its values, or a text of an API."""
        super().__init__(message % values if values else message)
        self._message = message
        self._values = values

    @property
    def text(self) -> str:
        """The text in the current language."""
        values = {
            name: value.text if isinstance(value, TranslatedError) else gettext(value)
            for name, value in self._values.items()
        }
        return gettext(self._message, **values)


class ApiError(TranslatedError):
    """A call to the notification service failed. The text is fit for a page.

    ``status`` is the HTTP status of the dashboard's response; ``reason`` is a metric label.
    """

    status: ClassVar[int] = 502
    reason: ClassVar[str] = "other"


class Unreachable(ApiError):
    """No connection, or no response in time."""

    status = 503
    reason = "unreachable"


class Suspended(ApiError):
    """No request was sent: the last requests failed, or too many are in progress."""

    status = 503
    reason = "suspended"


class NotReady(ApiError):
    """The service responds that it cannot serve requests now."""

    status = 503
    reason = "not_ready"


class TooManyRequests(ApiError):
    """The person sends more requests in a minute than the service allows."""

    status = 429
    reason = "rate_limited"


class BadResponse(ApiError):
    """The response violates the API contract."""

    reason = "bad_answer"


class TokenRejected(ApiError):
    """The service does not accept API_TOKEN."""

    reason = "token_refused"


class FilterRejected(ApiError):
    """The filter, the cursor or a parameter of an action is invalid."""

    status = 400
    reason = "filter_refused"


class NotAllowed(ApiError):
    """The role of the user does not permit the action."""

    status = 403
    reason = "not_allowed"


class NotFound(ApiError):
    """There is no such alert, event, user or silence."""

    status = 404
    reason = "not_found"


class Conflict(ApiError):
    """The state of the alert does not allow the action, or somebody changed it in between."""

    status = 409
    reason = "conflict"


ALL: tuple[type[ApiError], ...] = (
    Unreachable, Suspended, NotReady, TooManyRequests, BadResponse, TokenRejected, FilterRejected,
    NotAllowed, NotFound, Conflict,
)  # fmt: skip
