"""Pull requests and comments on GitHub through the program ``gh``."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gitops.errors import CommandError, GitOpsError, ProgramMissingError

#: The colour of the labels that this program creates.
_COLOUR: Final = "c5def5"


@dataclass(frozen=True)
class PullRequest:
    """An open pull request."""

    number: int
    url: str


class GitHub:
    """The GitHub repository of the clone in ``directory``. gh finds it through the remote."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("gh") is None:
            raise ProgramMissingError("gh", purpose="call GitHub (https://cli.github.com)")
        self._directory = directory

    def create_or_update(
        self, *, branch: str, base: str, title: str, body: str, labels: Sequence[str] = ()
    ) -> PullRequest:
        """Create the pull request of a branch, or update the title and body of the open one."""
        self._ensure_labels(labels)
        label_options = [word for label in labels for word in ("--label", label)]
        if (found := self.find(branch=branch, base=base)) is None:
            self._gh(
                "pr", "create", "--head", branch, "--base", base, "--title", title,
                "--body-file", "-", *label_options, text=body,
            )  # fmt: skip
            if (found := self.find(branch=branch, base=base)) is None:
                raise GitOpsError(
                    f"GitHub created a pull request for {branch} but does not list it"
                )
            return found
        label_options = [word for label in labels for word in ("--add-label", label)]
        self._gh(
            "pr", "edit", str(found.number), "--title", title, "--body-file", "-", *label_options,
            text=body,
        )  # fmt: skip
        return found

    def find(self, *, branch: str, base: str) -> PullRequest | None:
        """The open pull request of a branch of this repository. Branches of forks do not count."""
        listed = self._json(
            "pr", "list", "--head", branch, "--base", base, "--state", "open",
            "--json", "number,url,isCrossRepository",
        )  # fmt: skip
        own = [request for request in listed if not request["isCrossRepository"]]
        return PullRequest(own[0]["number"], own[0]["url"]) if own else None

    def enable_auto_merge(self, number: int) -> None:
        """Make GitHub merge the pull request when all required checks have passed."""
        self._gh("pr", "merge", str(number), "--auto", "--squash")

    def disable_auto_merge(self, number: int) -> None:
        """Disable auto-merge if it is enabled."""
        request = self._json("pr", "view", str(number), "--json", "autoMergeRequest")
        if request["autoMergeRequest"]:
            self._gh("pr", "merge", str(number), "--disable-auto")

    def close(self, number: int, *, reason: str) -> None:
        """Close a pull request with a comment that gives the reason."""
        self._gh("pr", "close", str(number), "--comment", reason)

    def comment(self, number: int, *, key: str, body: str) -> None:
        """Create or replace the comment with this key, which is stored in an HTML comment."""
        marker = f"<!-- gitops: {key} -->"
        path = f"repos/{{owner}}/{{repo}}/issues/{number}/comments"
        pages = self._json("api", path, "--paginate", "--slurp")
        existing = [
            comment["id"]
            for page in pages
            for comment in page
            if comment["body"].startswith(marker) and comment["user"]["type"] == "Bot"
        ]
        text = f"{marker}\n{body}"
        if existing:
            comment_path = f"repos/{{owner}}/{{repo}}/issues/comments/{existing[0]}"
            self._gh("api", "--method", "PATCH", comment_path, "--field", "body=@-", text=text)
        else:
            self._gh("api", "--method", "POST", path, "--field", "body=@-", text=text)

    def label(self, number: int, *, wanted: Sequence[str], known: Sequence[str]) -> None:
        """Set the labels ``wanted`` and remove the other labels of ``known``. Keep all others."""
        labels = self._json("pr", "view", str(number), "--json", "labels")["labels"]
        current = {label["name"] for label in labels}
        add = [name for name in wanted if name not in current]
        remove = [name for name in known if name in current and name not in wanted]
        self._ensure_labels(add)
        options = [f"--add-label={name}" for name in add]
        options += [f"--remove-label={name}" for name in remove]
        if options:
            self._gh("pr", "edit", str(number), *options)

    def _ensure_labels(self, labels: Sequence[str]) -> None:
        for label in labels:
            self._gh("label", "create", label, "--force", f"--color={_COLOUR}")

    def _json(self, *arguments: str) -> Any:
        return json.loads(self._gh(*arguments))

    def _gh(self, *arguments: str, text: str | None = None) -> str:
        process = subprocess.run(
            ("gh", *arguments),
            cwd=self._directory,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise CommandError(f"gh {' '.join(arguments[:2])}", process.stderr or process.stdout)
        return process.stdout
