"""MITRE ATT&CK in the tags of rules (``attack.t1110.001``), and the pages of its site."""

from typing import Final

#: The prefix of all tags that name ATT&CK.
TAG_PREFIX: Final = "attack."
#: The site of ATT&CK.
SITE: Final = "https://attack.mitre.org"


def technique_url(technique: str) -> str:
    """The page of a technique or sub-technique, such as ``T1110.001``."""
    return f"{SITE}/techniques/{technique.replace('.', '/')}/"


def tactic_url(tactic: str) -> str:
    """The page of a tactic, such as ``TA0006``."""
    return f"{SITE}/tactics/{tactic}/"
