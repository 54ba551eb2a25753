"""The second factor of a local account: enabled, checked and deleted through the API."""

import time
from collections.abc import Callable
from typing import Final, Literal
from urllib.parse import urlencode

from auditflow.contract.second_factor import SecondFactor
from auditflow.telemetry import logs
from event_audit_dashboard.access import totp
from event_audit_dashboard.apis.client import ApiClient, Caller
from event_audit_dashboard.errors import Conflict, NotFound

_PATH: Final = "/api/v1/second-factor"
_log = logs.get(__name__)

Mode = Literal["off", "optional", "required"]


class SecondFactors:
    """Checks codes. It is thread-safe.

    Methods raise ApiError if the API does not respond. Without the API, nobody with a local account
    can sign in, because it is not known whether a code is required.
    """

    def __init__(
        self,
        client: ApiClient,
        box: totp.SecretBox,
        *,
        mode: Mode,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._box = box
        self.mode: Final = mode
        self._clock = clock

    def read(self, caller: Caller) -> SecondFactor:
        """The second factor of a person."""
        if self.mode == "off":
            return SecondFactor(enabled=False)
        try:
            return self._client.get(_PATH, caller, SecondFactor)
        except NotFound:  # a previous version of the API, which has no second factors
            if self.mode == "required":
                raise
            return SecondFactor(enabled=False)

    def new(self, user: str) -> tuple[str, str]:
        """A new secret, and the same encrypted, for the form that confirms it."""
        secret = totp.new_secret()
        return secret, self._box.encrypt(user, secret)

    def secret(self, user: str, encrypted: str) -> str | None:
        """The secret of a form. None if the form was changed."""
        try:
            return self._box.decrypt(user, encrypted)
        except totp.UnreadableSecret:
            return None

    def enable(self, encrypted: str, code: str, caller: Caller) -> list[str] | None:
        """Enable a second factor and return its recovery codes. None if the code is wrong.

        Raises:
            Conflict: the person has a second factor already.
        """
        secret = self.secret(str(caller.person), encrypted)
        step = totp.matching_step(secret, _compact(code), self._clock()) if secret else None
        if step is None:
            return None
        codes = totp.new_recovery_codes()
        hashes = [totp.recovery_hash(each) for each in codes]
        body = {"encrypted_secret": encrypted, "recovery_hashes": hashes}
        self._client.send("PUT", _PATH, caller, body=body)
        self._client.send("POST", f"{_PATH}/steps", caller, body={"step": step})
        return codes

    def check(self, code: str, caller: Caller) -> bool:
        """Whether this is the current code or a recovery code. Each is accepted once."""
        hashed = totp.recovery_hash(code)
        if hashed is not None:
            return self._use("recovery-codes", {"hash": hashed}, caller)
        factor = self.read(caller)
        try:
            secret = self._box.decrypt(str(caller.person), factor.encrypted_secret)
        except totp.UnreadableSecret as error:
            _log.exception("second factor is unreadable", user=caller.person, detail=str(error))
            return False
        step = totp.matching_step(secret, _compact(code), self._clock())
        return step is not None and self._use("steps", {"step": step}, caller)

    def delete(self, name: str, caller: Caller) -> None:
        """Delete the second factor of a person. That of others requires the role admin."""
        self._client.send("DELETE", f"{_PATH}?{urlencode({'name': name})}", caller)

    def _use(self, part: str, body: dict[str, object], caller: Caller) -> bool:
        try:
            self._client.send("POST", f"{_PATH}/{part}", caller, body=body)
        except Conflict:
            return False
        return True


def _compact(code: str) -> str:
    return "".join(code.split())
