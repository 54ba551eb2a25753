"""Errors of the delivery pipeline. Each text states the problem and the solution."""


class GitOpsError(Exception):
    """The root of all errors that this package raises. The text is written for users."""


class CommandError(GitOpsError):
    """An external program failed. ``output`` is its complete output."""

    def __init__(self, command: str, output: str) -> None:
        super().__init__(f"{command} failed:\n{_indented(output.strip() or '(no output)')}")
        self.command = command
        self.output = output


class ProgramMissingError(GitOpsError):
    """A required program is not on PATH."""

    def __init__(self, *names: str, purpose: str) -> None:
        super().__init__(f"{' or '.join(names)} is not on PATH; it is required to {purpose}")
        self.names = names


class UnknownRevisionError(GitOpsError):
    """A commit, branch or tag is not in this clone."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"{revision!r} is not a commit of this clone. Run git fetch first; in a workflow,"
            " check out with fetch-depth: 0"
        )
        self.revision = revision


class ShallowCloneError(GitOpsError):
    """The clone lacks the history that is required to find out which commit is older."""

    def __init__(self) -> None:
        super().__init__(
            "this clone is shallow, so the age of two commits cannot be compared."
            " Run git fetch --unshallow; in a workflow, check out with fetch-depth: 0"
        )


class InvalidPinError(GitOpsError):
    """A release component does not have the format that this program writes."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path}: {reason}. Only gitops writes these files. Restore the last valid version"
            " with git, and make manual changes in the environment's own kustomization.yaml"
        )
        self.path = path


class SnapshotError(GitOpsError):
    """The copy of an environment's bases cannot be made."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class UnrelatedCommitsError(GitOpsError):
    """Neither of two commits is an ancestor of the other, so the pin must not change."""

    def __init__(self, service: str, pinned: str, offered: str) -> None:
        super().__init__(
            f"{service}: {offered[:12]} is neither older nor newer than the pinned commit"
            f" {pinned[:12]}. If the branch was rewritten, change the pin in a pull request that a"
            " person reviews"
        )
        self.service = service


class NotOnBranchError(GitOpsError):
    """An image was built from a commit that is not on the branch."""

    def __init__(self, service: str, commit: str, branch: str) -> None:
        super().__init__(
            f"{service}: {commit[:12]} is not on {branch}, so its image must not be deployed."
            " Merge the commit first"
        )
        self.service = service


class DowngradeError(GitOpsError):
    """A promotion would deploy an older commit than the target runs."""

    def __init__(self, services: tuple[str, ...], source: str, target: str) -> None:
        names = ", ".join(services)
        super().__init__(
            f"{names}: {source} runs an older commit than {target}, so there is nothing to promote."
            f" To roll {target} back, use gitops rollback --env {target}"
        )
        self.services = services


class LostRaceError(GitOpsError):
    """Another push changed the branch first, so this push was rejected."""


class RacesLostError(GitOpsError):
    """Another push won the race in every attempt. ``attempts`` is their number."""

    def __init__(self, branch: str, attempts: int) -> None:
        super().__init__(
            f"lost the race to push to {branch} {attempts} times in a row; nothing was changed."
            " Run the command again; it is idempotent"
        )
        self.attempts = attempts


class PushRefusedError(GitOpsError):
    """The remote does not allow this identity to push to the branch. A retry does not help."""

    def __init__(self, branch: str, output: str) -> None:
        super().__init__(
            f"the remote refused the push to {branch}, so nothing was changed. If the branch is"
            " protected, the bot must be on the bypass list of its ruleset (docs/delivery.md,"
            f" 'Branch protection'). Output of git:\n{_indented(output.strip())}"
        )
        self.branch = branch


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
