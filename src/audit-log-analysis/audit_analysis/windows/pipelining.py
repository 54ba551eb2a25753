"""Sends many commands to Redis at once, and reads all responses."""

from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.exceptions import ResponseError

#: A command with its arguments.
Command = tuple[str | int | bytes, ...]

#: Arguments larger than this are sent without copying them (bytes).
_LARGE: Final = 6000


def execute(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Send commands and return their responses in the same order.

    Raises:
        redis.RedisError: the first error of a command or of the connection. The effects of the
            other commands remain.
    """
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    responses: list[Any] = []
    error: ResponseError | None = None
    try:
        connection.send_packed_command(_pack(commands))
        for _ in commands:
            try:
                responses.append(connection.read_response())
            except ResponseError as response_error:
                error = error or response_error
    except BaseException:
        # The next user of the connection would read the remaining responses as its own.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
    if error is not None:
        raise error
    return responses


def _pack(commands: Sequence[Command]) -> list[bytes]:
    """The commands in the protocol of Redis, as few pieces."""
    packed: list[bytes] = []
    piece: list[bytes] = []
    for command in commands:
        piece.append(b"*%d\r\n" % len(command))
        for argument in command:
            encoded = argument if isinstance(argument, bytes) else str(argument).encode()
            piece.append(b"$%d\r\n" % len(encoded))
            if len(encoded) > _LARGE:
                packed += (b"".join(piece), encoded)
                piece = [b"\r\n"]
            else:
                piece += (encoded, b"\r\n")
    packed.append(b"".join(piece))
    return packed
