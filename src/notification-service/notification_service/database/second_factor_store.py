"""Second factors in PostgreSQL. Each change is one atomic statement."""

from collections.abc import Sequence
from typing import Any, Final

from auditflow.contract.second_factor import SecondFactor
from notification_service.database.pool import Pool

_RETURNED: Final = "encrypted_secret, cardinality(recovery_hashes)"
_READ: Final = f"SELECT {_RETURNED} FROM second_factors WHERE name = %s"
_ENABLE: Final = f"""
    INSERT INTO second_factors (name, encrypted_secret, recovery_hashes) VALUES (%s, %s, %s)
    ON CONFLICT (name) DO NOTHING RETURNING {_RETURNED}
"""
# A step is used once, also by parallel requests, and no earlier step is used after it.
_USE_STEP: Final = f"""
    UPDATE second_factors SET last_step = %(step)s WHERE name = %(name)s AND last_step < %(step)s
    RETURNING {_RETURNED}
"""
_USE_RECOVERY_CODE: Final = f"""
    UPDATE second_factors SET recovery_hashes = array_remove(recovery_hashes, %(hash)s)
    WHERE name = %(name)s AND %(hash)s = ANY (recovery_hashes) RETURNING {_RETURNED}
"""
_DELETE: Final = f"DELETE FROM second_factors WHERE name = %s RETURNING {_RETURNED}"


class SecondFactorStore:
    """Reads and changes second factors. A method returns None if it changes nothing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def read(self, name: str) -> SecondFactor:
        """The second factor of a person."""
        return self._execute(_READ, (name,)) or SecondFactor(enabled=False)

    def enable(
        self, name: str, encrypted_secret: str, recovery_hashes: Sequence[str]
    ) -> SecondFactor | None:
        """Store a second factor. None if the person has one already."""
        return self._execute(
            _ENABLE, (name, encrypted_secret, list(dict.fromkeys(recovery_hashes)))
        )

    def use_step(self, name: str, step: int) -> SecondFactor | None:
        """Use the time ``step`` of a code (RFC 6238). None if it or a later one was used."""
        return self._execute(_USE_STEP, {"name": name, "step": step})

    def use_recovery_code(self, name: str, code_hash: str) -> SecondFactor | None:
        """Use a recovery code. None if the person has no such code."""
        return self._execute(_USE_RECOVERY_CODE, {"name": name, "hash": code_hash})

    def delete(self, name: str) -> SecondFactor | None:
        """Delete the second factor. None if the person has none."""
        return self._execute(_DELETE, (name,))

    def _execute(self, statement: str, values: Any) -> SecondFactor | None:
        with self._pool.cursor() as cursor:
            cursor.execute(statement, values)
            row = cursor.fetchone()
        if row is None:
            return None
        return SecondFactor(enabled=True, encrypted_secret=row[0], recovery_codes=row[1])
