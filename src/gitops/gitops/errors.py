"""What can go wrong on the way of a change. Each text says what is wrong and the way out of it."""


class GitOpsError(Exception):
    """The root of everything this package raises on purpose; the text is meant to be read."""


class CommandError(GitOpsError):
    """A program that we call failed. ``output`` is what it said."""

    def __init__(self, command: str, output: str) -> None:
        said = output.strip() or "(it said nothing)"
        super().__init__(f"{command} failed:\n{_indented(said)}")
        self.command = command
        self.output = output


class ProgramMissingError(GitOpsError):
    """A program that a step cannot do without is not on PATH."""

    def __init__(self, *names: str, wanted_for: str) -> None:
        super().__init__(f"{' or '.join(names)} is not on PATH, and is needed to {wanted_for}")
        self.names = names


class UnknownRevisionError(GitOpsError):
    """A commit, branch or tag is not in this clone."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"{revision!r} is no commit of this clone. Fetch it first (git fetch); in a workflow,"
            " check out with fetch-depth: 0"
        )
        self.revision = revision


class ShallowCloneError(GitOpsError):
    """Which commit is older cannot be told without the whole history."""

    def __init__(self) -> None:
        super().__init__(
            "this clone is shallow, so which commit is older cannot be told."
            " Run git fetch --unshallow; in a workflow, check out with fetch-depth: 0"
        )


class InvalidPinError(GitOpsError):
    """A release component is not of the shape that this program writes."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"{path}: {why}. These files are written by gitops only; restore the last good version"
            " with git, and put what a person decides beside it, in the environment's own"
            " kustomization.yaml"
        )
        self.path = path


class UnrelatedCommitsError(GitOpsError):
    """Of two commits neither is older, so neither may replace the other by itself."""

    def __init__(self, service: str, pinned: str, offered: str) -> None:
        super().__init__(
            f"{service}: {offered[:12]} is neither older nor newer than {pinned[:12]}, which is"
            " pinned. Was the branch rewritten? Pin it by a pull request that a person reviews"
        )
        self.service = service


class NotOnBranchError(GitOpsError):
    """An image was built from a commit that the branch does not have."""

    def __init__(self, service: str, commit: str, branch: str) -> None:
        super().__init__(
            f"{service}: {commit[:12]} is not on {branch}, so what was built from it may not be"
            " deployed. Merge it first"
        )
        self.service = service


class MovesBackError(GitOpsError):
    """A promotion would take services back to an older commit."""

    def __init__(self, services: tuple[str, ...], source: str, target: str) -> None:
        names = ", ".join(services)
        super().__init__(
            f"{names}: {source} runs an older commit than {target}, so this would be no promotion."
            f" To take {target} back, use gitops rollback --env {target}"
        )
        self.services = services


class LostRaceError(GitOpsError):
    """Somebody else pushed in between; the push changed nothing."""


class RacesLostError(GitOpsError):
    """Somebody else pushed in between, each time."""

    def __init__(self, branch: str, attempts: int) -> None:
        super().__init__(
            f"lost the race to push to {branch} {attempts} times in a row; nothing was changed."
            " Run this again: it begins anew, and what arrived already is left as it is"
        )
        self.attempts = attempts


class PushRefusedError(GitOpsError):
    """The remote does not let this identity push there. Trying again would not help."""

    def __init__(self, branch: str, said: str) -> None:
        super().__init__(
            f"the remote refused the push to {branch}, so nothing was changed. If the branch is"
            " protected, the bot must be on the bypass list of its ruleset (docs/delivery.md,"
            f" 'Branch protection'). It said:\n{_indented(said.strip())}"
        )
        self.branch = branch


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
