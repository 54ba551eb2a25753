"""Render the manifests of a commit with kustomize."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from gitops import layout, manifests
from gitops.errors import GitOpsError, ProgramMissingError
from gitops.git import Repository
from gitops.manifests import Change

#: ``src`` contains the program of the Job "secrets", which apps/secrets reads.
_TREES: Final = ("apps", "clusters", "src/auditflow", "src/provisioning")
_TIMEOUT_SECONDS: Final = 120


class RenderError(GitOpsError):
    """A folder cannot be rendered, so Argo CD cannot render it either."""

    def __init__(self, folder: str, output: str) -> None:
        super().__init__(f"{folder} does not render:\n    {output.strip()}")
        self.folder = folder


def program(given: str | None = None) -> tuple[str, ...] | None:
    """The command for kustomize: the given program, kustomize on PATH, or kubectl on PATH."""
    if given:
        return (given, "build")
    if found := shutil.which("kustomize"):
        return (found, "build")
    if found := shutil.which("kubectl"):
        return (found, "kustomize")
    return None


class Renderer:
    """Renders environments of commits. Each commit is exported once."""

    def __init__(self, repository: Repository, command: Sequence[str] | None) -> None:
        if command is None:
            raise ProgramMissingError("kustomize", "kubectl", purpose="render manifests")
        self._repository = repository
        self._command = tuple(command)
        self._temporary_folder = tempfile.TemporaryDirectory(prefix="gitops-render-")
        self._trees: dict[str, Path] = {}

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary_folder.cleanup()

    def difference(self, base: str, head: str, environment: str) -> tuple[Change, ...]:
        """The objects of an environment that differ between ``base`` and ``head``.

        Raises:
            RenderError: a folder of ``head`` does not render. A folder of ``base`` that does not
                render counts as empty, so that a change that fixes it is shown.
        """
        before = self._environment(base, environment, strict=False)
        return manifests.changes(before, self._environment(head, environment, strict=True))

    def objects(self, revision: str, environment: str) -> dict[str, str]:
        """The objects of an environment in a commit, by name.

        Raises:
            RenderError: a folder does not render.
        """
        return self._environment(revision, environment, strict=True)

    def _environment(self, revision: str, environment: str, *, strict: bool) -> dict[str, str]:
        root = self._tree(revision)
        folders = sorted(
            file.parent
            for pattern in (
                f"apps/**/envs/{environment}/kustomization.yaml",
                f"clusters/{environment}/kustomization.yaml",
            )
            for file in root.glob(pattern)
        )
        objects: dict[str, str] = {}
        with ThreadPoolExecutor(max_workers=4) as pool:
            for rendered in pool.map(lambda path: self._build(root, path, strict=strict), folders):
                objects.update(rendered)
        return objects

    def _tree(self, revision: str) -> Path:
        commit = self._repository.resolve(revision)
        if commit not in self._trees:
            tree = Path(self._temporary_folder.name) / commit
            tree.mkdir()
            self._repository.export(commit, tree, *_TREES)
            self._trees[commit] = tree
        return self._trees[commit]

    def _build(self, root: Path, folder: Path, *, strict: bool) -> dict[str, str]:
        name = str(folder.relative_to(root))
        try:
            process = subprocess.run(
                (*self._command, str(folder)),
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise RenderError(name, f"no result within {_TIMEOUT_SECONDS} s") from None
        if process.returncode == 0:
            return manifests.objects(process.stdout)
        if strict:
            raise RenderError(name, process.stderr.replace(f"{root}/", ""))
        return {}


def differences(
    renderer: Renderer, base: str, head: str, environments: Sequence[str] = layout.ENVIRONMENTS
) -> dict[str, tuple[Change, ...]]:
    """The changes of each environment. Environments without changes are left out."""
    by_environment = {name: renderer.difference(base, head, name) for name in environments}
    return {environment: changes for environment, changes in by_environment.items() if changes}
