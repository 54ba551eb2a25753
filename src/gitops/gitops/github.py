"""Pull requests and comments on GitHub, by its program ``gh``."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gitops.errors import CommandError, GitOpsError, ProgramMissingError

#: Of our labels.
_COLOUR: Final = "c5def5"


@dataclass(frozen=True)
class PullRequest:
    """An open pull request."""

    number: int
    url: str


class GitHub:
    """The repository that the clone in ``directory`` belongs to; gh finds it by the remote."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("gh") is None:
            raise ProgramMissingError("gh", wanted_for="talk to GitHub (https://cli.github.com)")
        self._directory = directory

    def offer(
        self, *, branch: str, base: str, title: str, body: str, labels: Sequence[str] = ()
    ) -> PullRequest:
        """The one open pull request of a branch, with this text: created, or brought up to date."""
        self._ensure(labels)
        marks = [word for label in labels for word in ("--label", label)]
        if (found := self.find(branch=branch, base=base)) is None:
            self._gh(
                "pr", "create", "--head", branch, "--base", base, "--title", title,
                "--body-file", "-", *marks, text=body,
            )  # fmt: skip
            if (found := self.find(branch=branch, base=base)) is None:
                raise GitOpsError(f"GitHub made a pull request of {branch} and does not show it")
            return found
        marks = [word for label in labels for word in ("--add-label", label)]
        self._gh(
            "pr", "edit", str(found.number), "--title", title, "--body-file", "-", *marks, text=body
        )
        return found

    def find(self, *, branch: str, base: str) -> PullRequest | None:
        """The open pull request of a branch of this repository, and not of a fork's namesake."""
        listed = self._json(
            "pr", "list", "--head", branch, "--base", base, "--state", "open",
            "--json", "number,url,isCrossRepository",
        )  # fmt: skip
        own = [one for one in listed if not one["isCrossRepository"]]
        return PullRequest(own[0]["number"], own[0]["url"]) if own else None

    def merge_when_green(self, number: int) -> None:
        """Let GitHub merge it when all that is required has passed."""
        self._gh("pr", "merge", str(number), "--auto", "--squash")

    def do_not_merge(self, number: int) -> None:
        """Take back that it may merge by itself, if that was said."""
        enabled = self._json("pr", "view", str(number), "--json", "autoMergeRequest")
        if enabled["autoMergeRequest"]:
            self._gh("pr", "merge", str(number), "--disable-auto")

    def close(self, number: int, *, why: str) -> None:
        """Close a pull request with a word on why."""
        self._gh("pr", "close", str(number), "--comment", why)

    def comment(self, number: int, *, key: str, body: str) -> None:
        """The one comment under a key, with this text. The key is in it, where nobody sees it."""
        mark = f"<!-- gitops: {key} -->"
        path = f"repos/{{owner}}/{{repo}}/issues/{number}/comments"
        me = self._json("api", path, "--paginate", "--slurp")
        mine = [
            one["id"]
            for page in me
            for one in page
            if one["body"].startswith(mark) and one["user"]["type"] == "Bot"
        ]
        text = f"{mark}\n{body}"
        if mine:
            place = f"repos/{{owner}}/{{repo}}/issues/comments/{mine[0]}"
            self._gh("api", "--method", "PATCH", place, "--field", "body=@-", text=text)
        else:
            self._gh("api", "--method", "POST", path, "--field", "body=@-", text=text)

    def label(self, number: int, *, wanted: Sequence[str], known: Sequence[str]) -> None:
        """Of the labels that are ours (``known``), exactly those that are ``wanted``."""
        has = self._json("pr", "view", str(number), "--json", "labels")["labels"]
        names = {one["name"] for one in has}
        add = [one for one in wanted if one not in names]
        remove = [one for one in known if one in names and one not in wanted]
        self._ensure(add)
        words = [f"--add-label={one}" for one in add] + [f"--remove-label={one}" for one in remove]
        if words:
            self._gh("pr", "edit", str(number), *words)

    def _ensure(self, labels: Sequence[str]) -> None:
        for label in labels:
            self._gh("label", "create", label, "--force", f"--color={_COLOUR}")

    def _json(self, *arguments: str) -> Any:
        return json.loads(self._gh(*arguments))

    def _gh(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(
            ("gh", *arguments),
            cwd=self._directory,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"gh {' '.join(arguments[:2])}", done.stderr or done.stdout)
        return done.stdout
