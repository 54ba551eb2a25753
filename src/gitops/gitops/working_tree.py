"""Write the snapshots of an environment into a working tree."""

from pathlib import Path

from gitops import layout
from gitops import snapshot as snapshots


def write_snapshots(
    root: Path, environment: str, *, only: tuple[str, ...] = (), missing: bool = False
) -> tuple[str, ...]:
    """Make the snapshots of an environment equal to the bases of the same checkout.

    Returns the changed files. With ``missing``, existing files do not change.
    """

    def read(path: str) -> bytes | None:
        file = root / path
        return file.read_bytes() if file.is_file() else None

    overlays = (str(file.relative_to(root)) for file in root.glob("apps/**/kustomization.yaml"))
    written = []
    for app in snapshots.apps(overlays, environment):
        if (only and app not in only) or not snapshots.roots(read, app, environment):
            continue
        top = layout.snapshot(app, environment)
        wanted = snapshots.files(read, read, app=app, environment=environment)
        changed = {path for path, content in wanted.items() if read(path) != content}
        if missing:
            changed = {path for path in changed if read(path) is None}
        else:
            present = {
                str(file.relative_to(root)) for file in (root / top).rglob("*") if file.is_file()
            }
            for path in present - wanted.keys():
                (root / path).unlink()
                written.append(path)
        for path in changed:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(wanted[path])
        written += sorted(changed)
    return tuple(written)
