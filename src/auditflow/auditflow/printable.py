"""Makes text from messages and files safe for terminals and logs."""


def printable(text: str, *, keep: str = "") -> str:
    """The text with an escape sequence in place of each character that is not printable.

    These are control characters, which can change a terminal, invisible characters, which can
    reorder text, and lone surrogates, which cannot be encoded. Characters in ``keep`` stay.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape").decode()
        for character in text
    )
