"""The exceptions of this library. Exceptions of client libraries do not leave the adapters."""


class AuditFlowError(Exception):
    """The root of all AuditFlow exceptions."""


class ContractError(AuditFlowError):
    """A message violates the published contract. The text states the field and the reason."""


class SettingsError(AuditFlowError):
    """A setting is missing or invalid. The text names each variable."""


class Unavailable(AuditFlowError):
    """A dependency is unavailable. Retry later with the same input.

    ``dependency`` is its name in ``/readyz``, for example ``"rabbitmq"``.
    """

    def __init__(self, dependency: str, reason: str) -> None:
        super().__init__(f"{dependency} is unavailable: {reason}")
        self.dependency = dependency


class TooSlow(Unavailable):
    """A dependency ended a request that took too long. Others may succeed."""


class PublishError(Unavailable):
    """The broker did not confirm a message. It may or may not have stored it."""

    def __init__(self, reason: str) -> None:
        super().__init__("rabbitmq", reason)


class InvalidMessage(AuditFlowError):
    """A message exceeds a limit of AMQP, so no broker can store it. A retry does not help."""
