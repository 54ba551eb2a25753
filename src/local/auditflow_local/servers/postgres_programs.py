"""Where PostgreSQL's server programs are: packages keep several versions side by side."""

import shutil
from pathlib import Path
from typing import Final

from auditflow_local.errors import LocalError

_PACKAGED: Final = Path("/usr/lib/postgresql")


def installed() -> dict[str, Path]:
    """Folders of programs by major version, newest first; "?" for one found only in PATH."""
    versions = {
        folder.name: folder / "bin"
        for folder in _PACKAGED.glob("[0-9]*")
        if (folder / "bin" / "postgres").exists() and (folder / "bin" / "initdb").exists()
    }
    if not versions and (found := shutil.which("postgres")):
        return {"?": Path(found).resolve().parent}
    return dict(sorted(versions.items(), key=lambda item: int(item[0]), reverse=True))


def programs(data: Path) -> Path:
    """The programs for a data folder: of the version that made it, else the newest.

    Raises:
        LocalError: none is installed, or not the one that the data need.
    """
    versions = installed()
    if not versions:
        raise LocalError("PostgreSQL: not found; `make up` installs it")
    try:
        made_by = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return next(iter(versions.values()))
    if made_by in versions:
        return versions[made_by]
    if "?" in versions:
        return versions["?"]
    raise LocalError(
        f"the data in {data} are of PostgreSQL {made_by}, and only {', '.join(versions)} is "
        f"installed. Install postgresql-{made_by}, or start anew with `make reset`."
    )
