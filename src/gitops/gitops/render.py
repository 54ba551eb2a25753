"""What the manifests of a commit become, by kustomize."""

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

_TREES: Final = ("apps", "clusters")
_SECONDS: Final = 120


class RenderError(GitOpsError):
    """A folder cannot be rendered, so Argo CD could not either. ``folder`` says which."""

    def __init__(self, folder: str, said: str) -> None:
        super().__init__(f"{folder} does not render:\n    {said.strip()}")
        self.folder = folder


def program(given: str | None = None) -> tuple[str, ...] | None:
    """How to call kustomize: the one that was given, the one on PATH, or the one in kubectl."""
    if given:
        return (given, "build")
    if found := shutil.which("kustomize"):
        return (found, "build")
    if found := shutil.which("kubectl"):
        return (found, "kustomize")
    return None


class Renderer:
    """Renders environments of commits; each commit is written out once."""

    def __init__(self, repository: Repository, command: Sequence[str] | None) -> None:
        if command is None:
            raise ProgramMissingError("kustomize", "kubectl", wanted_for="render manifests")
        self._repository = repository
        self._command = tuple(command)
        self._home = tempfile.TemporaryDirectory(prefix="gitops-render-")
        self._trees: dict[str, Path] = {}

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(self, *_: object) -> None:
        self._home.cleanup()

    def difference(self, base: str, head: str, environment: str) -> tuple[Change, ...]:
        """What an environment would get by ``head`` that it has not by ``base``.

        Raises:
            RenderError: a folder of ``head`` does not render. One of ``base`` counts as empty:
                a change that mends it must be shown.
        """
        before = self._environment(base, environment, strict=False)
        return manifests.changes(before, self._environment(head, environment, strict=True))

    def objects(self, revision: str, environment: str) -> dict[str, str]:
        """The objects of an environment by a commit, by name.

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
        found: dict[str, str] = {}
        with ThreadPoolExecutor(max_workers=4) as pool:
            for objects in pool.map(lambda one: self._build(root, one, strict=strict), folders):
                found.update(objects)
        return found

    def _tree(self, revision: str) -> Path:
        commit = self._repository.resolve(revision)
        if commit not in self._trees:
            tree = Path(self._home.name) / commit
            tree.mkdir()
            self._repository.export(commit, tree, *_TREES)
            self._trees[commit] = tree
        return self._trees[commit]

    def _build(self, root: Path, folder: Path, *, strict: bool) -> dict[str, str]:
        name = str(folder.relative_to(root))
        try:
            done = subprocess.run(
                (*self._command, str(folder)),
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise RenderError(name, f"nothing came in {_SECONDS} s") from None
        if done.returncode == 0:
            return manifests.objects(done.stdout)
        if strict:
            raise RenderError(name, done.stderr.replace(f"{root}/", ""))
        return {}


def differences(
    renderer: Renderer, base: str, head: str, environments: Sequence[str] = layout.ENVIRONMENTS
) -> dict[str, tuple[Change, ...]]:
    """What each environment would get, for those that would get anything."""
    found = {one: renderer.difference(base, head, one) for one in environments}
    return {environment: changes for environment, changes in found.items() if changes}
