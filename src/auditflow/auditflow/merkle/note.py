"""Signed notes as in https://c2sp.org/signed-note, with Ed25519.

Needs the extra ``audit`` of this package. A note is a text, an empty line and signature lines.
"""

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auditflow.errors import AuditFlowError

#: Limits of a note that is read.
MAX_BYTES: Final = 1 << 20
MAX_SIGNATURES: Final = 100

_ED25519: Final = b"\x01"
_PRIVATE: Final = "PRIVATE+KEY+"
#: Shortest secret that a key is derived from, in characters.
_SECRET_LENGTH: Final = 32
_SIGNATURE: Final = "\u2014 "  # an em dash and a space


class NoteError(AuditFlowError):
    """A note or a key is malformed, or a signature is missing or invalid."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """A named public key of 32 bytes."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise NoteError("a key name must not be empty or contain spaces or '+'")
        if len(self.public_key) != 32:
            raise NoteError("a public Ed25519 key has 32 bytes")

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read ``NAME+HASH+KEY``. Raises NoteError."""
        name, hash_text, encoded = _fields(text, 3)
        verifier = cls(name, _key(encoded))
        if hash_text != verifier.key_id.hex():
            raise NoteError("the hash in the public key does not fit its name and key")
        return verifier

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that identify the key in a signature line."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public_key
        return hashlib.sha256(named).digest()[:4]

    def __str__(self) -> str:
        encoded = base64.b64encode(_ED25519 + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


@dataclass(frozen=True, slots=True)
class Signer:
    """A named private key. ``seed`` has 32 bytes."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> "Signer":
        """A new key."""
        return cls(name, secrets.token_bytes(32))

    @classmethod
    def from_secret(cls, text: str, name: str) -> "Signer":
        """Read a private key, or derive the key ``name`` from another secret.

        Raises:
            NoteError: the key is malformed, or the secret has fewer than 32 characters.
        """
        if text.startswith(_PRIVATE):
            return cls.parse(text)
        if len(text) < _SECRET_LENGTH:
            raise NoteError(f"a secret for a key has at least {_SECRET_LENGTH} characters")
        return cls(name, hashlib.sha256(b"auditflow signing key\n" + text.encode()).digest())

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """Read ``PRIVATE+KEY+NAME+HASH+KEY``. Raises NoteError, whose text contains no key."""
        if not text.startswith(_PRIVATE):
            raise NoteError("a private key starts with PRIVATE+KEY+")
        name, hash_text, encoded = _fields(text.removeprefix(_PRIVATE), 3)
        signer = cls(name, _key(encoded))
        if hash_text != signer.verifier.key_id.hex():
            raise NoteError("the hash in the private key does not fit its name and key")
        return signer

    @property
    def verifier(self) -> Verifier:
        """The public key."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        return Verifier(self.name, key.public_key().public_bytes_raw())

    def private_key(self) -> str:
        """The key in the form that ``parse`` reads. It is a secret."""
        encoded = base64.b64encode(_ED25519 + self.seed).decode()
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{encoded}"

    def sign(self, text: str) -> str:
        """The note of a text, which must end with a line feed."""
        _check_text(text)
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        encoded = base64.b64encode(self.verifier.key_id + signature).decode()
        return f"{text}\n{_SIGNATURE}{self.name} {encoded}\n"


def open_note(note: str, verifier: Verifier) -> str:
    """The text of a note that this key signed. Ignores other keys' signatures. Raises NoteError."""
    if len(note.encode(errors="replace")) > MAX_BYTES:
        raise NoteError(f"the note is larger than {MAX_BYTES} bytes")
    body, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise NoteError("the note has no signature lines")
    text = body + "\n"
    _check_text(text)
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has more than {MAX_SIGNATURES} signatures")
    is_signed = False
    for line in lines:
        name, _, encoded = line.removeprefix(_SIGNATURE).partition(" ")
        signature = _decode(encoded)
        if not line.startswith(_SIGNATURE) or not _is_name(name) or len(signature) < 5:
            raise NoteError("a signature line of the note is malformed")
        if name != verifier.name or signature[:4] != verifier.key_id:
            continue
        try:
            key = Ed25519PublicKey.from_public_bytes(verifier.public_key)
            key.verify(signature[4:], text.encode())
        except (InvalidSignature, ValueError):
            raise NoteError(f"the signature of {name} is invalid") from None
        is_signed = True
    if not is_signed:
        raise NoteError(f"the note has no signature of {verifier.name}")
    return text


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise NoteError("the text of a note must end with a line feed")
    if any((c < " " and c != "\n") or "\ud800" <= c <= "\udfff" for c in text):
        raise NoteError("the text of a note must not contain control characters or surrogates")


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and name.isprintable() and len(name.split()) == 1


def _fields(text: str, count: int) -> list[str]:
    fields = text.split("+", count - 1)  # the key itself can contain "+"
    if len(fields) != count:
        raise NoteError("a key has the form NAME+HASH+KEY")
    return fields


def _key(encoded: str) -> bytes:
    data = _decode(encoded)
    if len(data) != 33 or data[:1] != _ED25519:
        raise NoteError("the key is not an Ed25519 key")
    return data[1:]


def _decode(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("a key or a signature is not base64") from None
