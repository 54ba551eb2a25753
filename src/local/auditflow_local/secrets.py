"""Secrets: made once, kept in files that only their owner reads, handed out one by one."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def write(file: Path, text: str) -> None:
    """Write a file that is 0600 from its first moment, and whole or not there at all."""
    private(file.parent)
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    fresh.replace(file)


def private(folder: Path) -> Path:
    """A folder that only its owner enters."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


class Store:
    """A folder of secrets, one file each. A file that is there is used as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> str:
        """The secret of this name, made now if there is none: 160 bits, fit for URLs and shells."""
        file = self.folder / name
        try:
            value = file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            value = ""
        if not value:
            # Hexadecimal: no dash in front that a command line would take for an option.
            value = secrets.token_hex(20)
            write(file, value + "\n")
        file.chmod(0o600)
        return value


def hand_out(folder: Path, values: Mapping[str, str]) -> Path:
    """Make a folder hold exactly these secrets, as Kubernetes would mount them."""
    private(folder)
    for old in folder.iterdir():
        if old.name not in values:
            old.unlink()
    for name, value in values.items():
        write(folder / name, value + "\n")
    return folder
