"""Copies client libraries from npm and compiles translations when the package is built.

The client libraries are those of ``../npm_build_hook.py``. A compiled catalogue is not committed:
it is beside its source ``messages.po``.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from npm_build_hook import ClientLibraries  # type: ignore[import-not-found]  # see the line above

#: Below the root of the package.
CATALOGUES = "event_audit_dashboard/translations/*/LC_MESSAGES/messages.po"


class Build(ClientLibraries):  # type: ignore[misc]
    """Copies the client libraries, and compiles the catalogues."""

    def dependencies(self) -> list[str]:
        """Packages that the build needs in addition to hatchling."""
        return [*super().dependencies(), "babel>=2.18"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Copy the libraries if they are missing, and write ``messages.mo`` beside each source."""
        from babel.messages import mofile, pofile  # noqa: PLC0415  # a dependency of the build

        super().initialize(version, build_data)
        for source in Path(self.root).glob(CATALOGUES):
            with source.open("rb") as opened:
                catalogue = pofile.read_po(opened, abort_invalid=True)
            with source.with_suffix(".mo").open("wb") as compiled:
                mofile.write_mo(compiled, catalogue)
        build_data["artifacts"].append("event_audit_dashboard/translations/*/LC_MESSAGES/*.mo")


def get_build_hook() -> type[Build]:
    """The class that hatchling uses."""
    return Build
