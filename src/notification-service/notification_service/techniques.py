"""Techniques of MITRE ATT&CK in the tags of rules: ``attack.t1110.001`` is ``T1110.001``."""

import re
from collections.abc import Iterable
from typing import Final

from auditflow.contract.attack import TAG_PREFIX

#: The form of an identifier, in any letter case.
PATTERN: Final = r"^[Tt][0-9]{4}(\.[0-9]{3})?$"
_is_identifier = re.compile(PATTERN, re.ASCII).fullmatch


def is_technique(text: str) -> bool:
    """Whether the text is the identifier of a technique."""
    return _is_identifier(text) is not None


def tag_of(technique: str) -> str:
    """The tag of a technique, in lower case."""
    return TAG_PREFIX + technique.lower()


def named_by(tags: Iterable[str]) -> list[str]:
    """The techniques that tags name, in upper case and in their order."""
    names = (tag[len(TAG_PREFIX) :] for tag in tags if tag.lower().startswith(TAG_PREFIX))
    return [name.upper() for name in names if is_technique(name)]


def of_tags(tags: Iterable[str]) -> set[str]:
    """The techniques that tags name, and the techniques that those are part of."""
    named = named_by(tags)
    return {*named, *(name.partition(".")[0] for name in named)}
