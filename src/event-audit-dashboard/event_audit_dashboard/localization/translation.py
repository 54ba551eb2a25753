"""Translates texts of pages with gettext, and formats numbers and dates for a language.

The catalogues are in ``translations/LANGUAGE/LC_MESSAGES``. The build of the package compiles them.
The English text is the identifier of a text, so English needs no catalogue.
"""

import gettext as standard
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import resources
from typing import Final, TypeVar

DOMAIN: Final = "messages"
Key = TypeVar("Key")


def N_(message: str) -> str:  # noqa: N802  # the name that gettext gives to it
    """Mark a text for the catalogues. It is translated where it is used."""
    return message


class Language:
    """A language of the pages, with its catalogue."""

    def __init__(self, code: str, translations: standard.NullTranslations) -> None:
        """``code`` is the value of the HTML attribute ``lang``."""
        self.code = code
        self._translations = translations
        self._form = getattr(translations, "plural", lambda count: int(count != 1))
        #: The name of the language in the language itself.
        self.name = self.text(N_("English"))
        #: Character between groups of three digits.
        self.group = self.text(N_("1,000")).strip("01")
        self.point = self.text(N_("0.5")).strip("05")
        self.date = self.text(N_("%Y-%m-%d"))

    def text(self, message: str) -> str:
        """The translation of a text of the program, or the text itself."""
        # The entry of the empty text is the header of the catalogue.
        return self._translations.gettext(message) if message else ""

    def form(self, count: int) -> int:
        """The index of the plural form for a number."""
        return int(self._form(count))

    def plural(self, singular: str, plural: str, count: int) -> str:
        """The form of a text for a number."""
        return self._translations.ngettext(singular, plural, count)


def load() -> dict[str, Language]:
    """All languages by code, English first.

    Raises:
        FileNotFoundError: a catalogue is not compiled.
    """
    languages = {"en": Language("en", standard.NullTranslations())}
    folder = resources.files("event_audit_dashboard").joinpath("translations")
    found = folder.iterdir() if folder.is_dir() else ()
    for code in sorted(item.name for item in found if item.is_dir()):
        file = folder.joinpath(code, "LC_MESSAGES", f"{DOMAIN}.mo")
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} is missing: install the package again, "
                "uv sync --reinstall-package event-audit-dashboard"
            )
        with file.open("rb") as opened:
            languages[code] = Language(code, standard.GNUTranslations(opened))
    return languages


LANGUAGES: Final = load()
ENGLISH: Final = LANGUAGES["en"]
_current: ContextVar[Language] = ContextVar("language", default=ENGLISH)


def current() -> Language:
    """The language of this request, English outside of requests."""
    return _current.get()


def use(language: Language) -> None:
    """Set the language of this request."""
    _current.set(language)


@contextmanager
def using(language: Language) -> Iterator[None]:
    """Use a language for a block of code."""
    token = _current.set(language)
    try:
        yield
    finally:
        _current.reset(token)


def gettext(message: str, /, **values: object) -> str:
    """The text in the current language. ``%(name)s`` is replaced by the value with this name."""
    text = _current.get().text(message)
    return text % values if values else text


def ngettext(singular: str, plural: str, number: int, /, **values: object) -> str:
    """The text for a number in the current language. ``%(count)s`` is the number."""
    language = _current.get()
    return language.plural(singular, plural, number) % {"count": count(number), **values}


def count(number: int) -> str:
    """A whole number with separators: ``12,000``."""
    return f"{number:,}".replace(",", _current.get().group)


def percent(share: float) -> str:
    """A ``share`` from 0 to 1 as a percentage without fraction: ``40%``."""
    return gettext("%(number)s%%", number=f"{share * 100:.0f}")


class Texts(dict[Key, str]):
    """Texts by key. They are translated when they are read."""

    def __getitem__(self, key: Key) -> str:
        return gettext(super().__getitem__(key))

    def get(self, key: Key, default: str = "") -> str:  # type: ignore[override]
        """The text, or ``default``."""
        return self[key] if key in self else default  # noqa: SIM401  # this is its definition

    def items(self) -> list[tuple[Key, str]]:  # type: ignore[override]
        """All keys with their texts."""
        return [(key, self[key]) for key in self]

    def values(self) -> list[str]:  # type: ignore[override]
        """All texts."""
        return [self[key] for key in self]
