"""Finds PostgreSQL's server programs. Several versions may be installed."""

import shutil
from pathlib import Path
from typing import Final

from auditflow_local.errors import LocalError

_PACKAGED: Final = Path("/usr/lib/postgresql")


def installed() -> dict[str, Path]:
    """Return folders of programs by major version, newest first. "?" is one found only in PATH."""
    versions = {
        folder.name: folder / "bin"
        for folder in _PACKAGED.glob("[0-9]*")
        if (folder / "bin" / "postgres").exists() and (folder / "bin" / "initdb").exists()
    }
    if not versions and (found := shutil.which("postgres")):
        return {"?": Path(found).resolve().parent}
    return dict(sorted(versions.items(), key=lambda item: int(item[0]), reverse=True))


def programs(data: Path) -> Path:
    """Return the programs for a data folder: the version that created it, otherwise the newest.

    Raises:
        LocalError: no version is installed, or not the one that the data need.
    """
    versions = installed()
    if not versions:
        raise LocalError("PostgreSQL: not found; `make up` installs it")
    try:
        version = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return next(iter(versions.values()))
    if version in versions:
        return versions[version]
    if "?" in versions:
        return versions["?"]
    raise LocalError(
        f"the data in {data} belong to PostgreSQL {version}, and only {', '.join(versions)} is "
        f"installed. Install postgresql-{version}, or delete the data with `make reset`."
    )
