"""The sources that may send events, and what the token of each source permits.

A document (``INGEST_TOKENS``, YAML or JSON) describes them: docs/how-to/ingest-tokens.md.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final, Literal

import limits
import msgspec
import yaml
from msgspec import Struct

from audit_event_generator.ingest.batch import Adapter
from audit_event_generator.ingest.sources import API, SOURCES
from auditflow.contract.event import Event, LogSource
from auditflow.errors import AuditFlowError, ContractError

#: The names that ``routes`` may contain.
ROUTES: Final = (API, *SOURCES)
#: The routes on which the sender chooses ``logsource``, unless the token fixes it.
NATIVE_ROUTES: Final = frozenset({API, "ndjson"})
#: Minimum length of a token, in characters.
MIN_TOKEN: Final = 16
#: Limits of a document. A thousand sources with ten tokens each have 800 KB.
MAX_DOCUMENT_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 16
MAX_VALUES: Final = 100_000
_UNKNOWN_FIELD: Final = "Object contains unknown field `"


class TokenError(AuditFlowError):
    """The document of tokens is invalid. The text names the source and the reason."""


class NotPermitted(ContractError):
    """The token does not permit this event."""


class TokenSource(Struct, frozen=True, kw_only=True):
    """A source of events, and what its token permits.

    Attributes:
        name: appears in logs and errors.
        routes: the names of the permitted routes.
        log_source: replaces the ``logsource`` of events on native routes. None: the sender chooses.
        event_types: patterns (``user_*``) of the permitted event types. Empty: all.
        max_request_bytes: maximum size of a request's decompressed body. None: the general limit.
        rate: maximum number of records per period. None: no limit.
    """

    name: str
    routes: frozenset[str] = frozenset(ROUTES)
    log_source: LogSource | None = None
    event_types: tuple[str, ...] = ()
    max_request_bytes: int | None = None
    rate: limits.RateLimitItem | None = None

    def restrict(self, route: str, to_event: Adapter) -> Adapter:
        """Return an adapter that applies the source's restrictions to each event.

        The adapter raises NotPermitted if the source may not send the event's type.
        """
        fixes_log_source = self.log_source is not None and route in NATIVE_ROUTES
        if not self.event_types and not fixes_log_source:
            return to_event

        def restricted(record: bytes) -> Event:
            event = to_event(record)
            if self.event_types and not any(
                fnmatchcase(event.event_type, pattern) for pattern in self.event_types
            ):
                permitted = ", ".join(self.event_types)
                raise NotPermitted(
                    f"the token of the source {self.name} permits the event types {permitted}"
                    " - at `$.event_type`"
                )
            if fixes_log_source:
                event = msgspec.structs.replace(event, logsource=self.log_source)
            return event

        return restricted


class TokenTable:
    """Finds the source of a token. Contains only hashes of the tokens."""

    def __init__(self, sources: Mapping[bytes, TokenSource]) -> None:
        self._sources = dict(sources)

    def __len__(self) -> int:
        return len(self._sources)

    def find(self, token: bytes) -> TokenSource | None:
        """Return the source of a token; None if there is none."""
        digest = hashlib.sha256(token).digest()
        found: TokenSource | None = None
        for known, source in self._sources.items():
            if hmac.compare_digest(known, digest):
                found = source
        return found

    def merged(self, other: "TokenTable") -> "TokenTable":
        """Return a table with the tokens of both. This table's entries take precedence."""
        return TokenTable({**other._sources, **self._sources})


class _Entry(Struct, forbid_unknown_fields=True, kw_only=True):
    """One source of the document."""

    routes: list[str]
    tokens: list[str] = []
    tokens_sha256: list[str] = []
    logsource: LogSource | Literal["any"] | None = None
    event_types: list[str] = []
    max_request_bytes: int | None = None
    rate: str | None = None


class _Document(Struct, forbid_unknown_fields=True):
    """The document of tokens."""

    sources: dict[str, _Entry]


def unrestricted(name: str, tokens: Iterable[str]) -> TokenTable:
    """Return a table with tokens that permit everything."""
    source = TokenSource(name=name)
    return TokenTable({hashlib.sha256(token.encode()).digest(): source for token in tokens})


def parse(document: bytes) -> TokenTable:
    """Read a document of tokens.

    Raises:
        TokenError: the document is invalid. The text contains no token.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise TokenError(f"invalid document: more than {MAX_DOCUMENT_BYTES} bytes")
    if not document.strip():
        return TokenTable({})
    _check_structure(document)
    try:
        decoded = msgspec.yaml.decode(document, type=_Document)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise TokenError(f"invalid document: {_without_content(error)}") from None
    table: dict[bytes, TokenSource] = {}
    for name, entry in decoded.sources.items():
        source = _source(name, entry)
        for digest in _digests(name, entry):
            if digest in table:
                raise TokenError(f"{name}: the same token belongs to {table[digest].name}")
            table[digest] = source
    return TokenTable(table)


def _check_structure(document: bytes) -> None:
    """Refuse a document that is small, but deep or, by aliases, large. It builds no values."""
    depth = values = 0
    try:
        for event in yaml.parse(document, yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise TokenError("invalid document: aliases are not supported")
            if isinstance(event, yaml.NodeEvent):
                values += 1
                if getattr(event, "tag", None) is not None:
                    raise TokenError("invalid document: tags such as !!int are not supported")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise TokenError(f"invalid document: nested deeper than {MAX_DEPTH} levels")
            if values > MAX_VALUES:
                raise TokenError(f"invalid document: more than {MAX_VALUES} values")
    except (yaml.YAMLError, UnicodeDecodeError):
        raise TokenError("invalid document: not YAML or JSON") from None


def _without_content(error: Exception) -> str:
    # A syntax error of YAML quotes the document, which contains tokens. So does an error about a
    # field, if a token is where the name of a field belongs.
    if not isinstance(error, msgspec.ValidationError):
        return "not YAML or JSON"
    text = str(error)
    field = text.removeprefix(_UNKNOWN_FIELD)
    if field != text and len(field.rpartition("` - at ")[0]) >= MIN_TOKEN:
        return "an unknown field, whose name is long enough to be a token"
    return text


def _source(name: str, entry: _Entry) -> TokenSource:
    unknown = sorted(set(entry.routes) - set(ROUTES))
    if unknown or not entry.routes:
        raise TokenError(
            f"{name}: unknown routes: {', '.join(unknown) or 'none given'}."
            f" Routes are {', '.join(ROUTES)}"
        )
    native = sorted(NATIVE_ROUTES & set(entry.routes))
    if native and entry.logsource is None:
        raise TokenError(
            f"{name}: logsource is required for {', '.join(native)}."
            " Set it to `any` if the sender may choose it"
        )
    if entry.logsource is not None and not native:
        raise TokenError(f"{name}: logsource has no effect without {' or '.join(NATIVE_ROUTES)}")
    if entry.max_request_bytes is not None and entry.max_request_bytes < 1:
        raise TokenError(f"{name}: max_request_bytes must be positive")
    return TokenSource(
        name=name,
        routes=frozenset(entry.routes),
        log_source=entry.logsource if isinstance(entry.logsource, LogSource) else None,
        event_types=tuple(entry.event_types),
        max_request_bytes=entry.max_request_bytes,
        rate=_rate(name, entry.rate),
    )


def _rate(name: str, rate: str | None) -> limits.RateLimitItem | None:
    if rate is None:
        return None
    try:
        item = limits.parse(rate)
    except ValueError:
        raise TokenError(f"{name}: rate must be like 1000/second or 60000/minute") from None
    if item.amount < 1:
        raise TokenError(f"{name}: rate must be at least 1")
    return item


def _digests(name: str, entry: _Entry) -> list[bytes]:
    if not entry.tokens and not entry.tokens_sha256:
        raise TokenError(f"{name}: there is no token in tokens or tokens_sha256")
    if any(len(token) < MIN_TOKEN for token in entry.tokens):
        raise TokenError(f"{name}: a token must have at least {MIN_TOKEN} characters")
    digests = [hashlib.sha256(token.encode()).digest() for token in entry.tokens]
    for text in entry.tokens_sha256:
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            digest = b""
        if len(digest) != hashlib.sha256().digest_size:
            raise TokenError(f"{name}: tokens_sha256 must contain 64 hexadecimal digits")
        digests.append(digest)
    return digests
