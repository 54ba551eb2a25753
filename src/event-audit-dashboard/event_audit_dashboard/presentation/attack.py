"""Links from the tags of rules to the pages of MITRE ATT&CK."""

import re
from typing import Final

from msgspec import Struct

from auditflow.contract import attack

_TACTICS: Final = {
    "reconnaissance": "TA0043",
    "resource-development": "TA0042",
    "initial-access": "TA0001",
    "execution": "TA0002",
    "persistence": "TA0003",
    "privilege-escalation": "TA0004",
    "defense-evasion": "TA0005",
    "credential-access": "TA0006",
    "discovery": "TA0007",
    "lateral-movement": "TA0008",
    "collection": "TA0009",
    "command-and-control": "TA0011",
    "exfiltration": "TA0010",
    "impact": "TA0040",
}
_TECHNIQUE: Final = re.compile(r"attack\.(t\d{4})(?:\.(\d{3}))?", re.IGNORECASE)
_OTHER: Final = re.compile(r"attack\.([gs])(\d{4})", re.IGNORECASE)


class Tag(Struct, frozen=True):
    """Label of a tag, and the URL of its ATT&CK page if it has one."""

    label: str
    url: str | None = None


def tag(name: str) -> Tag:
    """Parse a Sigma tag such as ``attack.t1110.001`` or ``attack.credential_access``."""
    if found := _TECHNIQUE.fullmatch(name):
        technique, sub = found[1].upper(), found[2]
        if sub:
            return Tag(f"{technique}.{sub}", attack.technique_url(f"{technique}.{sub}"))
        return Tag(technique, attack.technique_url(technique))
    if found := _OTHER.fullmatch(name):
        folder = "groups" if found[1].lower() == "g" else "software"
        number = f"{found[1].upper()}{found[2]}"
        return Tag(number, f"{attack.SITE}/{folder}/{number}/")
    tactic = name.lower().removeprefix(attack.TAG_PREFIX).replace("_", "-")
    if name.lower().startswith(attack.TAG_PREFIX) and tactic in _TACTICS:
        words = tactic.replace("-", " ").capitalize()
        return Tag(words, attack.tactic_url(_TACTICS[tactic]))
    return Tag(name)
