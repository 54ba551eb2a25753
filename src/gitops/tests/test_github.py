"""Pull requests and comments, with a program that stands for gh."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitops.cli import main
from gitops.errors import CommandError, GitOpsError, ProgramMissingError
from gitops.github import GitHub

from .forge import Clone
from .stand_ins import FakeGitHub


def test_one_pull_request_to_a_branch(github: FakeGitHub, tmp_path: Path):
    gh = GitHub(tmp_path)
    first = gh.offer(branch="promote/prod", base="main", title="one", body="1", labels=["env/prod"])
    again = gh.offer(branch="promote/prod", base="main", title="two", body="2", labels=["env/prod"])
    other = gh.offer(branch="promote/staging", base="main", title="three", body="3")
    assert (first, other.number) == (again, 2)
    assert github.pull(1)["title"] == "two"
    assert github.pull(1)["labels"] == ["env/prod"]


def test_one_that_is_closed_is_not_opened_again(github: FakeGitHub, tmp_path: Path):
    github.add("promote/prod", state="closed")
    assert (
        GitHub(tmp_path).offer(branch="promote/prod", base="main", title="t", body="b").number == 2
    )


def test_a_branch_of_a_fork_with_that_name_is_not_ours(github: FakeGitHub, tmp_path: Path):
    github.add("promote/prod", fork=True)
    made = GitHub(tmp_path).offer(branch="promote/prod", base="main", title="t", body="b")
    assert made.number == 2
    assert github.pull(1)["title"] == "t"


def test_merging_by_itself_is_said_and_taken_back(github: FakeGitHub, tmp_path: Path):
    github.add("promote/staging")
    gh = GitHub(tmp_path)
    gh.merge_when_green(1)
    assert github.pull(1)["auto"]
    gh.do_not_merge(1)
    assert not github.pull(1)["auto"]


def test_the_comment_is_brought_up_to_date_in_place(github: FakeGitHub, ada: Clone, tmp_path: Path):
    github.add("feature", labels=["env/prod", "bug"])
    # somebody who would like to be the bot
    github.say(1, "<!-- gitops: rendered-difference -->\nnothing to see here")
    github.say(1, "thanks", kind="Bot")
    folder = tmp_path / "difference"
    folder.mkdir()
    command = ["-C", str(ada.directory), "annotate", "1", "--from", str(folder)]
    for environments in (["dev", "prod"], ["dev", "staging"]):
        (folder / "difference.md").write_text(f"of {environments}\n")
        (folder / "environments.json").write_text(json.dumps(environments))
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    bodies = [one["body"] for one in github.read()["comments"]]
    assert len(bodies) == 3
    assert bodies[2] == (
        "<!-- gitops: rendered-difference -->\n## What this changes\n\nof ['dev', 'staging']\n"
    )
    assert sorted(github.pull(1)["labels"]) == ["bug", "env/dev", "env/staging"]


def test_labels_are_only_ever_ours(github: FakeGitHub, ada: Clone, tmp_path: Path):
    """What the job of a pull request wrote is read with a token that may write."""
    github.add("feature")
    (tmp_path / "difference.md").write_text("x" * 100_000)
    (tmp_path / "environments.json").write_text('["dev", "approved", "--add-label=x", 3]')
    done = CliRunner().invoke(
        main, ["-C", str(ada.directory), "annotate", "1", "--from", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert github.pull(1)["labels"] == ["env/dev"]
    assert len(github.read()["comments"][0]["body"]) < 200
    (tmp_path / "environments.json").write_text("3")
    done = CliRunner().invoke(
        main, ["-C", str(ada.directory), "annotate", "1", "--from", str(tmp_path)]
    )
    assert "is not what gitops diff writes" in done.output


def test_pr_takes_what_promote_wrote(github: FakeGitHub, ada: Clone, tmp_path: Path):
    (tmp_path / "title.txt").write_text("A title\n")
    (tmp_path / "body.md").write_text("A body\n")
    done = CliRunner().invoke(
        main,
        ["-C", str(ada.directory), "pr", "promote/staging", "--from", str(tmp_path), "--label", "env/staging", "--auto-merge"],
    )  # fmt: skip
    assert done.output == "https://github.com/o/r/pull/1\n"
    assert github.pull(1)["auto"]


def test_what_github_says_is_passed_on(github: FakeGitHub, tmp_path: Path):
    github.write({**github.read(), "down": True})
    with pytest.raises(CommandError, match="HTTP 502"):
        GitHub(tmp_path).find(branch="a", base="main")


def test_without_gh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissingError, match="gh is not on PATH"):
        GitHub(tmp_path)
    assert issubclass(ProgramMissingError, GitOpsError)
