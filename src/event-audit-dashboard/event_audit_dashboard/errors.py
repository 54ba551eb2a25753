"""What can go wrong between the dashboard and the notification service, in words for people."""

from typing import ClassVar

from auditflow.errors import AuditFlowError


class ApiError(AuditFlowError):
    """The notification service did not give what was asked for. The text is fit for a page.

    ``status`` is what the dashboard answers; ``reason`` is a label of metrics.
    """

    status: ClassVar[int] = 502
    reason: ClassVar[str] = "answer"


class Unreachable(ApiError):
    """No connection, or no answer in time."""

    status = 503
    reason = "unreachable"


class NotReady(ApiError):
    """It answers, and says that it cannot serve now."""

    status = 503
    reason = "not_ready"


class BadAnswer(ApiError):
    """It answers with what it never should."""

    reason = "bad_answer"


class TokenRefused(ApiError):
    """It does not accept API_TOKEN."""

    reason = "token_refused"


class FilterRefused(ApiError):
    """It does not understand the filter or the cursor."""

    status = 400
    reason = "filter_refused"


class NoSuchAlert(ApiError):
    """There is no alert with that identifier."""

    status = 404
    reason = "not_found"


ALL: tuple[type[ApiError], ...] = (
    Unreachable, NotReady, BadAnswer, TokenRefused, FilterRefused, NoSuchAlert,
)  # fmt: skip
