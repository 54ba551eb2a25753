"""Sessions of signed-in users, stored on the server so that they can be ended there.

The browser has only a random identifier in a signed cookie. The store keeps a hash of it.
"""

import hashlib
import secrets
import threading
import time
from typing import Any, Final, Protocol

import msgspec
from cachetools import TTLCache
from msgspec import Struct
from redis import Redis
from redis.exceptions import RedisError

from auditflow.contract.access import Role
from auditflow.errors import Unavailable

#: Maximum age of a session, in seconds after sign-in. Activity does not extend it.
SESSION_SECONDS: Final = 12 * 60 * 60
#: Maximum number of sessions of one user. A further sign-in ends the oldest session.
MAX_PER_USER: Final = 50
#: Maximum number of sessions in the memory of a process.
MAX_IN_MEMORY: Final = 10_000
#: Time for which the memory of a process stores used values, in seconds.
MAX_USED_SECONDS: Final = 900
_PREFIX: Final = "dashboard:"
_ALL: Final = f"{_PREFIX}sessions"


class Session(Struct, frozen=True):
    """A signed-in user. ``started_at`` is in seconds since 1970.

    ``subject`` and ``sid`` are the user and the session of the identity provider, if it signed the
    user in.
    """

    user: str
    role: Role
    started_at: float
    subject: str = ""
    sid: str = ""

    @property
    def identity_keys(self) -> tuple[str, ...]:
        """The keys by which the identity provider ends this session."""
        keys = []
        if self.subject:
            keys.append(identity_key(subject=self.subject, sid=""))
        if self.sid:
            keys.append(identity_key(subject="", sid=self.sid))
        return tuple(keys)


def identity_key(*, subject: str, sid: str) -> str:
    """The key of a session of the identity provider, or of all sessions of its user."""
    return _hash(f"sid {sid}" if sid else f"sub {subject}")


class SessionStore(Protocol):
    """Starts, finds and ends sessions. All methods raise ``Unavailable`` if the store is down."""

    def start(self, session: Session) -> str:
        """Store a session and return its identifier for the cookie."""
        ...

    def get(self, identifier: str) -> Session | None:
        """Return the session, or None if it has ended or expired."""
        ...

    def end(self, identifier: str) -> None:
        """End a session."""
        ...

    def end_all(self, user: str | None = None) -> int:
        """End all sessions, or those of one user. Return their number."""
        ...

    def end_identity(self, key: str) -> int:
        """End the sessions with this key of the identity provider. Return their number."""
        ...

    def first_use(self, value: str, seconds: int) -> bool:
        """Store a value for some seconds. False if it is stored already."""
        ...


class MemorySessions:
    """Sessions in the memory of one process without Redis. A restart ends them."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._used: TTLCache[str, bool] = TTLCache(MAX_IN_MEMORY, MAX_USED_SECONDS)
        self._lock = threading.Lock()

    def start(self, session: Session) -> str:
        """See ``SessionStore``."""
        identifier = secrets.token_urlsafe(32)
        with self._lock:
            own = [key for key, other in self._sessions.items() if other.user == session.user]
            for key in own[: max(0, len(own) - MAX_PER_USER + 1)]:
                del self._sessions[key]
            while len(self._sessions) >= MAX_IN_MEMORY:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[_hash(identifier)] = session
        return identifier

    def get(self, identifier: str) -> Session | None:
        """See ``SessionStore``."""
        key = _hash(identifier)
        with self._lock:
            session = self._sessions.get(key)
            if session is not None and is_expired(session):
                del self._sessions[key]
                return None
            return session

    def end(self, identifier: str) -> None:
        """See ``SessionStore``."""
        with self._lock:
            self._sessions.pop(_hash(identifier), None)

    def end_all(self, user: str | None = None) -> int:
        """See ``SessionStore``."""
        with self._lock:
            ended = [
                key for key, item in self._sessions.items() if user is None or item.user == user
            ]
            for key in ended:
                del self._sessions[key]
        return len(ended)

    def end_identity(self, key: str) -> int:
        """See ``SessionStore``."""
        with self._lock:
            ended = [name for name, item in self._sessions.items() if key in item.identity_keys]
            for name in ended:
                del self._sessions[name]
        return len(ended)

    def first_use(self, value: str, seconds: int) -> bool:
        """See ``SessionStore``. All values are stored for the maximum time."""
        with self._lock:
            if value in self._used:
                return False
            self._used[value] = True
            return True


class RedisSessions:
    """Sessions in Redis, shared by all replicas.

    ``dashboard:session:<hash>`` has a session as JSON, with a time to live. The sorted sets
    ``dashboard:sessions`` and ``dashboard:sessions:<user>`` have the hashes by start time.
    """

    def __init__(self, client: "Redis") -> None:
        self._redis = client

    def start(self, session: Session) -> str:
        """See ``SessionStore``."""
        identifier = secrets.token_urlsafe(32)
        key, own = _hash(identifier), _index(session.user)
        try:
            with self._redis.pipeline() as pipeline:
                pipeline.set(_key(key), msgspec.json.encode(session), ex=SESSION_SECONDS)
                for index in (_ALL, own, *map(_identity_index, session.identity_keys)):
                    pipeline.zremrangebyscore(index, 0, session.started_at - SESSION_SECONDS)
                    pipeline.zadd(index, {key: session.started_at})
                    pipeline.expire(index, SESSION_SECONDS)
                pipeline.zrange(own, 0, -MAX_PER_USER - 1)
                surplus = pipeline.execute()[-1]
            self._delete(surplus, (own,))
        except RedisError as error:
            raise Unavailable("redis", type(error).__name__) from error
        return identifier

    def get(self, identifier: str) -> Session | None:
        """See ``SessionStore``."""
        try:
            content = self._redis.get(_key(_hash(identifier)))
        except RedisError as error:
            raise Unavailable("redis", type(error).__name__) from error
        if not isinstance(content, bytes):
            return None
        session = msgspec.json.decode(content, type=Session)
        return None if is_expired(session) else session

    def end(self, identifier: str) -> None:
        """See ``SessionStore``."""
        key = _hash(identifier)
        try:
            content = self._redis.get(_key(key))
            indexes: tuple[str, ...] = ()
            if isinstance(content, bytes):
                indexes = (_index(msgspec.json.decode(content, type=Session).user),)
            self._delete([key.encode()], indexes)
        except RedisError as error:
            raise Unavailable("redis", type(error).__name__) from error

    def end_all(self, user: str | None = None) -> int:
        """See ``SessionStore``."""
        return self._end_indexed(_ALL if user is None else _index(user))

    def end_identity(self, key: str) -> int:
        """See ``SessionStore``."""
        return self._end_indexed(_identity_index(key))

    def first_use(self, value: str, seconds: int) -> bool:
        """See ``SessionStore``."""
        try:
            return bool(self._redis.set(f"{_PREFIX}used:{_hash(value)}", b"1", nx=True, ex=seconds))
        except RedisError as error:
            raise Unavailable("redis", type(error).__name__) from error

    def _end_indexed(self, index: str) -> int:
        """End all sessions of an index. Returns their number."""
        try:
            keys: Any = self._redis.zrange(index, 0, -1)
            self._delete(keys, (index,))
        except RedisError as error:
            raise Unavailable("redis", type(error).__name__) from error
        return len(keys)

    def _delete(self, keys: list[bytes], indexes: tuple[str, ...]) -> None:
        if not keys:
            return
        with self._redis.pipeline() as pipeline:
            pipeline.delete(*(_key(key.decode()) for key in keys))
            for index in (_ALL, *indexes):
                pipeline.zrem(index, *keys)
            pipeline.execute()


def is_expired(session: Session) -> bool:
    """Whether the maximum age of the session is over."""
    return time.time() - session.started_at >= SESSION_SECONDS


def _hash(identifier: str) -> str:
    return hashlib.sha256(identifier.encode()).hexdigest()


def _key(hashed: str) -> str:
    return f"{_PREFIX}session:{hashed}"


def _identity_index(key: str) -> str:
    return f"{_PREFIX}sessions-of-identity:{key}"


def _index(user: str) -> str:
    return f"{_ALL}:{user}"
