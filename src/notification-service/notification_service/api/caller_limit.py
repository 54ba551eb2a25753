"""How many long responses one caller may receive at the same time."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Final

from notification_service.api.callers import Caller, TooManyRequests

#: Time after which a refused caller may try again, in seconds.
_RETRY_SECONDS: Final = 5


class CallerLimit:
    """Allows ``maximum`` open responses of each person and each API token. Used on one event loop.

    The service token without a person has no limit, as for the rate of requests.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._open: Counter[tuple[str, str]] = Counter()

    def enter(self, caller: Caller) -> Callable[[], None]:
        """Count a response. Returns the function that ends it.

        Raises:
            TooManyRequests: the caller has the maximum number of open responses already.
        """
        if caller.is_service:
            return lambda: None
        key = caller.actor.kind, caller.actor.name
        if self._open[key] >= self._maximum:
            raise TooManyRequests(_RETRY_SECONDS)
        self._open[key] += 1

        def leave() -> None:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

        return leave


class StreamBody:
    """The parts of a response, and functions to call once when it ends.

    An asynchronous generator alone is not sufficient: if the client disconnects before the first
    part, the generator never starts, and its ``finally`` does not run.
    """

    def __init__(self, parts: AsyncIterator[bytes], *at_end: Callable[[], None]) -> None:
        self._parts = parts
        self._at_end = list(at_end)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._parts)

    async def aclose(self) -> None:
        """Called by the framework after the response."""
        try:
            await self._parts.aclose()  # type: ignore[attr-defined]
        finally:
            self.end()

    def end(self) -> None:
        """Call the functions, unless they were called."""
        while self._at_end:
            self._at_end.pop()()

    def __del__(self) -> None:
        self.end()
