"""Translations for scripts: a file ``texts.LANGUAGE.js`` with the texts that scripts contain."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from event_audit_dashboard.localization.translation import ENGLISH, Language, current

_STRING: Final = r'"((?:[^"\\]|\\.)*)"'
_TEXT: Final = re.compile(rf"\bgettext\(\s*{_STRING}")
_PLURAL: Final = re.compile(rf"\bngettext\(\s*{_STRING},\s*{_STRING}")
#: Numbers whose plural form is in the file. The forms of larger numbers repeat those from 100 on.
_NUMBERS: Final = range(200)


def name() -> str | None:
    """The name of the file for the language of this request. None for English."""
    return None if current() is ENGLISH else file_name(current())


def file_name(language: Language) -> str:
    """The name of the file for a language."""
    return f"texts.{language.code}.js"


def write(language: Language, scripts: Iterable[str]) -> bytes:
    """The content of the file. ``scripts`` are the sources of all scripts."""
    texts: dict[str, str | list[str]] = {}
    plurals = [language.form(number) for number in _NUMBERS]
    for source in scripts:
        for message in _TEXT.findall(source):
            texts[message] = language.text(message)
        for singular, plural in _PLURAL.findall(source):
            forms = {
                form: language.plural(singular, plural, number)
                for number, form in zip(_NUMBERS, plurals, strict=True)
            }
            texts[singular] = [forms[form] for form in sorted(forms)]
    content = msgspec.json.encode({"texts": texts, "plurals": plurals})
    return b"window.auditflowTexts = " + content + b";\n"
