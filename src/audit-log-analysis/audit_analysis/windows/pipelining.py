"""Many commands in one trip to Redis, which works on the first while the last are still written.

redis-py's pipeline packs all commands before it sends the first, and Redis would wait for us as we
wait for it afterwards.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

import redis
from redis.exceptions import ResponseError

#: A command with its arguments.
Command = tuple[str | int | bytes, ...]

#: Commands that are packed and sent at once.
_TOGETHER: Final = 20


def through(client: redis.Redis, commands: Iterable[Command]) -> list[Any]:
    """The answers, in order.

    Raises:
        redis.RedisError: the first error, as Redis or the connection gave it; what other commands
            did stands.
    """
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    answers: list[Any] = []
    error: ResponseError | None = None
    try:
        sent, left = 0, iter(commands)
        while together := list(islice(left, _TOGETHER)):
            connection.send_packed_command(connection.pack_commands(together))
            sent += len(together)
        for _ in range(sent):
            try:
                answers.append(connection.read_response())
            except ResponseError as one:
                error = error or one
    except BaseException:
        connection.disconnect()  # or the next would take answers for its own that are on their way
        raise
    finally:
        pool.release(connection)
    if error is not None:
        raise error
    return answers
