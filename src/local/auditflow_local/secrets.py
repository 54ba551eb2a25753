"""Secrets: generated once and stored in files that only their owner can read."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def write_file(file: Path, text: str) -> None:
    """Write a file with mode 0600 atomically."""
    make_private(file.parent)
    temporary = file.with_name(f".{file.name}.new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(file)


def make_private(folder: Path) -> Path:
    """Create a folder with mode 0700, or set the mode of an existing one."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


class Store:
    """A folder with one file per secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> str:
        """Return a secret. If it does not exist, generate 160 bits, safe in URLs and shells."""
        file = self.folder / name
        try:
            value = file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            value = ""
        if not value:
            # Hexadecimal, because a command line would parse a leading dash as an option.
            value = secrets.token_hex(20)
            write_file(file, value + "\n")
        file.chmod(0o600)
        return value


def write_all(folder: Path, values: Mapping[str, str]) -> Path:
    """Write exactly these secrets to a folder, in the layout of a mounted Kubernetes Secret."""
    make_private(folder)
    for old in folder.iterdir():
        if old.name not in values:
            old.unlink()
    for name, value in values.items():
        write_file(folder / name, value + "\n")
    return folder
