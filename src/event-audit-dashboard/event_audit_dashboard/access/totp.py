"""Time-based codes (RFC 6238) and recovery codes of the second factor."""

import base64
import hashlib
import hmac
import re
import secrets
from typing import Final

import pyotp
import segno
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from markupsafe import Markup

from auditflow.errors import AuditFlowError

#: Seconds for which a code is shown.
STEP_SECONDS: Final = 30
#: Steps before and after the current one whose codes are accepted, for clocks that are wrong.
SKEW_STEPS: Final = 1
RECOVERY_CODES: Final = 10
_RECOVERY_BYTES: Final = 10
_NONCE_BYTES: Final = 12
_CODE: Final = re.compile(r"[0-9]{6}")
_RECOVERY_CODE: Final = re.compile(r"[a-z2-7]{16}")


class UnreadableSecret(AuditFlowError):
    """The stored secret cannot be decrypted: SESSION_SECRET was changed, or it was modified."""


class SecretBox:
    """Encrypts secrets of codes with a key that is derived from SESSION_SECRET.

    The name of the user is authenticated: the secret of one user is invalid for another.
    """

    def __init__(self, session_secret: str) -> None:
        derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"auditflow second factor")
        self._cipher = AESGCM(derive.derive(session_secret.encode()))

    def encrypt(self, user: str, secret: str) -> str:
        """The encrypted secret, in URL-safe base64."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.encode(), user.encode())
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def decrypt(self, user: str, encrypted: str) -> str:
        """The secret.

        Raises:
            UnreadableSecret: the key, the user or the text is different.
        """
        try:
            content = base64.urlsafe_b64decode(encrypted.encode())
            nonce, sealed = content[:_NONCE_BYTES], content[_NONCE_BYTES:]
            return self._cipher.decrypt(nonce, sealed, user.encode()).decode()
        except (InvalidTag, ValueError):
            raise UnreadableSecret("The secret of the second factor cannot be decrypted.") from None


def new_secret() -> str:
    """A secret of 160 random bits in base32."""
    return pyotp.random_base32()


def qr_code(secret: str, *, user: str, environment: str) -> Markup:
    """The secret as a QR code for authenticator apps: an inline SVG without styles or scripts."""
    uri = pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=f"AuditFlow {environment}")
    drawn = segno.make(uri, error="m", micro=False).svg_inline(scale=4, light="#fff")
    return Markup(drawn)  # noqa: S704 # nosec B704 # only numbers and colours


def matching_step(secret: str, code: str, now: float) -> int | None:
    """The time step whose code this is, None if it is wrong. ``now`` is in seconds since 1970."""
    if not _CODE.fullmatch(code):
        return None
    current = int(now) // STEP_SECONDS
    totp = pyotp.TOTP(secret)
    found = None
    for step in range(max(0, current - SKEW_STEPS), current + SKEW_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step), code):
            found = step
    return found


def new_recovery_codes() -> list[str]:
    """Recovery codes of 80 random bits, in groups of four characters."""
    return [_new_recovery_code() for _ in range(RECOVERY_CODES)]


def recovery_hash(code: str) -> str | None:
    """The hash of a recovery code, None if it cannot be one. Case and separators are ignored.

    The codes are random, so a fast hash without salt is sufficient.
    """
    plain = re.sub(r"[\s-]", "", code).lower()
    if not _RECOVERY_CODE.fullmatch(plain):
        return None
    return hashlib.sha256(plain.encode()).hexdigest()


def _new_recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))
