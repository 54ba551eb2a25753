"""Errors of calls to the notification service. Their texts are shown to users."""

from typing import ClassVar

from auditflow.errors import AuditFlowError


class ApiError(AuditFlowError):
    """A call to the notification service failed. The text is fit for a page.

    ``status`` is the HTTP status of the dashboard's response; ``reason`` is a metric label.
    """

    status: ClassVar[int] = 502
    reason: ClassVar[str] = "other"


class Unreachable(ApiError):
    """No connection, or no response in time."""

    status = 503
    reason = "unreachable"


class NotReady(ApiError):
    """The service responds that it cannot serve requests now."""

    status = 503
    reason = "not_ready"


class BadResponse(ApiError):
    """The response violates the API contract."""

    reason = "bad_answer"


class TokenRejected(ApiError):
    """The service does not accept API_TOKEN."""

    reason = "token_refused"


class FilterRejected(ApiError):
    """The filter or the cursor is invalid."""

    status = 400
    reason = "filter_refused"


class AlertNotFound(ApiError):
    """There is no alert with this identifier."""

    status = 404
    reason = "not_found"


ALL: tuple[type[ApiError], ...] = (
    Unreachable, NotReady, BadResponse, TokenRejected, FilterRejected, AlertNotFound,
)  # fmt: skip
