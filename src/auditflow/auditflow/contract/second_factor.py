"""The second factor of a local account of the dashboard: time-based codes and recovery codes.

The API stores only the encrypted secret of the codes and hashes of the recovery codes. The key is
in the dashboard.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

#: Recovery codes of one person.
MAX_RECOVERY_CODES: Final = 20

EncryptedSecret = Annotated[
    str,
    Meta(
        min_length=40,
        max_length=400,
        pattern=r"^[A-Za-z0-9_=-]+$(?!\n)",
        description="The secret, encrypted by the dashboard, in URL-safe base64.",
    ),
]
RecoveryHash = Annotated[
    str,
    Meta(
        min_length=64,
        max_length=64,
        pattern=r"^[0-9a-f]{64}$(?!\n)",
        description="The SHA-256 of a recovery code, in hexadecimal digits.",
    ),
]


class SecondFactor(Struct, frozen=True, kw_only=True):
    """The second factor of the caller."""

    enabled: bool
    encrypted_secret: Annotated[
        str, Meta(description="Empty if the second factor is not enabled.")
    ] = ""
    recovery_codes: Annotated[int, Meta(description="Recovery codes that are not used yet.")] = 0


class SecondFactorRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new second factor."""

    encrypted_secret: EncryptedSecret
    recovery_hashes: Annotated[
        tuple[RecoveryHash, ...], Meta(min_length=1, max_length=MAX_RECOVERY_CODES)
    ]


class UsedStep(Struct, frozen=True, forbid_unknown_fields=True):
    """The time step of a code that was entered."""

    step: Annotated[int, Meta(ge=0, le=2**40, description="Seconds since 1970, divided by 30.")]


class UsedRecoveryCode(Struct, frozen=True, forbid_unknown_fields=True):
    """A recovery code that was entered."""

    hash: RecoveryHash
