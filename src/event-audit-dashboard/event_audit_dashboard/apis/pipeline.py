"""The routes of the notification service's API about queues and dead letters."""

from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import urlencode

from auditflow.contract import pipeline as contract
from event_audit_dashboard.apis.client import ApiClient, Caller, segment

#: Limit for reading and changing dead letters, in seconds. The service examines many messages.
SECONDS: Final = 22.0
#: Dead letters on a page.
PAGE_SIZE: Final = 100
Action = Literal["replay", "discard"]


class PipelineApi:
    """Reads queues and dead letters, and replays or discards them. It is thread-safe."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def queues(self, caller: Caller) -> tuple[contract.QueueView, ...]:
        """The work queues.

        Raises:
            NotFound: the service has no account to read them.
        """
        return self._client.get("/api/v1/queues", caller, contract.QueueList, timeout=5.0).queues

    def letters(self, queue: str, caller: Caller, *, reason: str = "") -> contract.DeadLetterList:
        """The oldest dead letters of a queue."""
        query = {"limit": str(PAGE_SIZE), **({"reason": reason} if reason else {})}
        target = f"{_path(queue)}?{urlencode(query)}"
        return self._client.get(target, caller, contract.DeadLetterList, timeout=SECONDS)

    def letter(self, queue: str, key: str, caller: Caller) -> contract.DeadLetterDetail:
        """A dead letter with its body."""
        path = f"{_path(queue)}/{segment(key)}"
        return self._client.get(path, caller, contract.DeadLetterDetail, timeout=SECONDS)

    def change(
        self,
        action: Action,
        queue: str,
        caller: Caller,
        *,
        keys: Sequence[str] = (),
        reason: str | None = None,
        comment: str = "",
    ) -> contract.DeadLetterResult:
        """Replay or discard dead letters, selected by their keys or by their reason."""
        body = {"keys": list(keys), "reason": reason, "comment": comment}
        reply = self._client.send(
            "POST", f"{_path(queue)}/{action}", caller, body=body, timeout=SECONDS
        )
        return self._client.decode(reply.body, contract.DeadLetterResult)


def _path(queue: str) -> str:
    return f"/api/v1/dead-letters/{segment(queue)}"
