"""Identity that is computed, never drawn: the same facts give the same identifier anywhere.

Names are hashed as JSON arrays, so that user ``a:b`` on host ``c`` is never user ``a`` on ``b:c``.
"""

import uuid
from collections.abc import Mapping
from typing import Final

import msgspec

#: The root of every identifier that AuditFlow computes. Changing it orphans all that is stored.
NAMESPACE: Final = uuid.UUID("6f0e5a2e-5d0b-5c39-9d1f-2a6f3f2b7c11")
_RECORDS: Final = uuid.uuid5(NAMESPACE, "record")
_FINDINGS: Final = uuid.uuid5(NAMESPACE, "finding")
_FINGERPRINTS: Final = uuid.uuid5(NAMESPACE, "fingerprint")


def record_id(record: bytes) -> str:
    """The identifier of an event whose source gives it none: its bytes, hashed."""
    return str(uuid.uuid5(_RECORDS, record.hex()))


def finding_id(rule_id: str, entity: Mapping[str, str], bucket: int | str) -> uuid.UUID:
    """The identifier of a finding, computed from its rule, entity and bucket.

    ``bucket`` is the end of the window divided by the dedup period of the rule. For a rule without
    a window it is the identifier of the event.
    """
    return uuid.uuid5(_FINDINGS, _name(rule_id, sorted(entity.items()), bucket))


def fingerprint(rule_id: str, entity: Mapping[str, str]) -> uuid.UUID:
    """The identifier that all findings of an alert share, computed from rule and entity.

    It does not depend on the revision of the rule and on the bucket.
    """
    return uuid.uuid5(_FINGERPRINTS, _name(rule_id, sorted(entity.items())))


def _name(*parts: object) -> str:
    return msgspec.json.encode(parts).decode()
