"""The errors that this library raises. Client libraries' own exceptions stop at the adapters."""


class AuditFlowError(Exception):
    """The root of everything that AuditFlow raises on purpose."""


class ContractError(AuditFlowError):
    """A message does not fit the published contract. The text says what and where."""


class SettingsError(AuditFlowError):
    """The environment does not hold what a service needs. The text names each variable."""


class Unavailable(AuditFlowError):
    """A dependency cannot be reached now. Trying again later is right, with the same input.

    ``dependency`` is the name that ``/readyz`` shows, for example ``"rabbitmq"``.
    """

    def __init__(self, dependency: str, why: str) -> None:
        super().__init__(f"{dependency} is unavailable: {why}")
        self.dependency = dependency


class PublishError(Unavailable):
    """The broker did not confirm a message. It may or may not have stored it."""

    def __init__(self, why: str) -> None:
        super().__init__("rabbitmq", why)
