"""A limit on the memory that request bodies use together."""


class OutOfMemoryBudget(Exception):
    """The bodies of all requests together would exceed the limit."""


class MemoryBudget:
    """Counts bytes against a limit. Used on one event loop. All sizes are in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def reserve(self, size: int) -> None:
        """Count ``size`` more bytes.

        Raises:
            OutOfMemoryBudget: the limit would be exceeded. Nothing is counted.
        """
        if self.used + size > self._limit:
            raise OutOfMemoryBudget
        self.used += size

    def release(self, size: int) -> None:
        """Count ``size`` fewer bytes."""
        self.used -= size


class Reservation:
    """The part of a budget that one request uses. Use it as a context manager."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.release(self._size)
        self._size = 0

    def add(self, size: int) -> None:
        """Reserve ``size`` more bytes.

        Raises:
            OutOfMemoryBudget: the limit would be exceeded.
        """
        self._budget.reserve(size)
        self._size += size
