"""Reads that arrive while another read runs are made together, in one call in a thread.

Changing to a thread and back costs more than a short read. A read begins after all requests that
it answers have arrived, so no answer is older than its request.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

from auditflow.errors import Unavailable
from notification_service.api.requests import ANSWER_SECONDS

K = TypeVar("K")
V = TypeVar("V")


class _Waiting(Generic[V]):
    """The requests that wait for one key, and the group that reads it, if it is being read."""

    __slots__ = ("group", "requests", "timer")

    def __init__(self) -> None:
        self.requests: list[asyncio.Future[V]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.group: asyncio.Future[Any] | None = None

    def fail(self, error: BaseException) -> None:
        for request in self.requests:
            if not request.done():
                request.set_exception(error)

    def answer(self, value: V) -> None:
        for request in self.requests:
            if not request.done():
                request.set_result(value)


class GroupedReads(Generic[K, V]):
    """Reads keys for the requests of one event loop. Requests with the same key share a read."""

    def __init__(
        self,
        read: Callable[[Sequence[K]], Mapping[K, V]],
        *,
        max_keys: int,
        parallel: int,
        seconds: float = ANSWER_SECONDS,
    ) -> None:
        """``read`` reads different keys and runs in a thread. If it fails, all of them have failed.

        ``max_keys`` is the maximum size of a group, ``parallel`` the number of groups at a time.
        """
        self._read = read
        self._max_keys = max_keys
        self._parallel = parallel
        self._seconds = seconds
        self._waiting: dict[K, _Waiting[V]] = {}
        self._groups: set[asyncio.Future[Mapping[K, V]]] = set()

    async def get(self, key: K) -> V:
        """The value of a key, read after this call.

        Raises:
            Unavailable: it takes too long.
            Exception: the error of ``read``.
        """
        loop = asyncio.get_running_loop()
        request: asyncio.Future[V] = loop.create_future()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.requests.append(request)
        else:
            waiting = self._waiting[key] = _Waiting()
            waiting.requests.append(request)
            waiting.timer = loop.call_later(self._seconds, self._expire, key, waiting)
            self._start_groups(loop)
        return await request

    def _start_groups(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting and len(self._groups) < self._parallel:
            keys = list(islice(self._waiting, self._max_keys))
            members = {key: self._waiting.pop(key) for key in keys}
            group = loop.run_in_executor(None, self._read, keys)
            for waiting in members.values():
                waiting.group = group
            self._groups.add(group)
            group.add_done_callback(partial(self._finish, members))

    def _expire(self, key: K, waiting: _Waiting[V]) -> None:
        """Fail the requests of a key. A group that hangs does not stop the others."""
        waiting.fail(Unavailable("postgresql", f"no answer within {self._seconds:g} s"))
        if waiting.group is None:
            del self._waiting[key]
        else:
            self._leave(waiting.group)

    def _leave(self, group: "asyncio.Future[Mapping[K, V]]") -> None:
        """Start other groups. This one has ended, or it hangs."""
        self._groups.discard(group)
        self._start_groups(group.get_loop())

    def _finish(
        self, members: Mapping[K, _Waiting[V]], group: "asyncio.Future[Mapping[K, V]]"
    ) -> None:
        error = asyncio.CancelledError() if group.cancelled() else group.exception()
        for key, waiting in members.items():
            if waiting.timer is not None:
                waiting.timer.cancel()
            if error is not None:
                waiting.fail(error)
            else:
                waiting.answer(group.result()[key])
        self._leave(group)
