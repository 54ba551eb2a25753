"""Download and render charts with the program ``helm``."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from uuid import uuid4

import yaml

from gitops.charts import Chart, Values
from gitops.errors import CommandError, ProgramMissingError

_TIMEOUT_SECONDS: Final = 120


class Helm:
    """Renders charts. Each version of a chart is downloaded once."""

    def __init__(self, program: str | None = None, *, kubernetes: str | None = None) -> None:
        """
        Args:
            program: the path of helm. None: helm on PATH.
            kubernetes: the version of Kubernetes. None: the one that this helm assumes.
        """
        found = program or shutil.which("helm")
        if found is None:
            raise ProgramMissingError("helm", purpose="render charts")
        self._program = found
        self._capabilities = ("--kube-version", kubernetes) if kubernetes else ()
        self._temporary_folder = tempfile.TemporaryDirectory(prefix="gitops-charts-")
        self._folder = Path(self._temporary_folder.name)
        # The user's own repositories, plugins and credentials are not used.
        homes = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HELM_")},
            **{name: str(self._folder / name) for name in homes},
        }
        self._archives: dict[tuple[str, str, str], Path] = {}

    def __enter__(self) -> "Helm":
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary_folder.cleanup()

    def render(self, chart: Chart, values: Values | None = None) -> str:
        """The manifests of a chart as a YAML stream, as Argo CD renders them.

        Args:
            values: values that replace the values of the chart.

        Raises:
            CommandError: the chart cannot be downloaded, or it refuses the values.
        """
        archive = self._download(chart)
        file = self._folder / f"values-{uuid4().hex}.yaml"
        file.write_text(yaml.safe_dump(chart.values if values is None else values), "utf-8")
        crds = "--skip-crds" if chart.skip_crds else "--include-crds"
        try:
            return self._run(
                "template", chart.release, str(archive),
                "--namespace", chart.namespace, "--values", str(file), crds,
                *self._capabilities,
            )  # fmt: skip
        finally:
            file.unlink()

    def accepts(self, chart: Chart, values: Values) -> str | None:
        """The manifests with other values, or None if the chart refuses the values."""
        try:
            return self.render(chart, values)
        except CommandError:
            return None

    def _download(self, chart: Chart) -> Path:
        key = (chart.repository, chart.name, chart.version)
        if key not in self._archives:
            folder = self._folder / uuid4().hex
            folder.mkdir()
            if chart.repository.startswith("oci://"):
                source = [f"{chart.repository}/{chart.name}"]
            else:
                source = [chart.name, "--repo", chart.repository]
            self._run("pull", *source, "--version", chart.version, "--destination", str(folder))
            (self._archives[key],) = folder.glob("*.tgz")
        return self._archives[key]

    def _run(self, *arguments: str) -> str:
        command = f"helm {' '.join(arguments[:3])}"
        try:
            process = subprocess.run(
                (self._program, *arguments), env=self._environment, capture_output=True,
                text=True, check=False, timeout=_TIMEOUT_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise CommandError(command, f"no result within {_TIMEOUT_SECONDS} s") from None
        if process.returncode:
            raise CommandError(command, process.stderr)
        return process.stdout
