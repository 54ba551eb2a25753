"""Pull requests and comments, with a fake gh."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitops.cli import main
from gitops.errors import CommandError, GitOpsError, ProgramMissingError
from gitops.github import GitHub

from .forge import Clone
from .stand_ins import FakeGitHub


def test_existing_pull_request_is_updated(github: FakeGitHub, tmp_path: Path):
    gh = GitHub(tmp_path)
    first = gh.create_or_update(
        branch="promote/prod", base="main", title="one", body="1", labels=["env/prod"]
    )
    again = gh.create_or_update(
        branch="promote/prod", base="main", title="two", body="2", labels=["env/prod"]
    )
    other = gh.create_or_update(branch="promote/staging", base="main", title="three", body="3")
    assert (first, other.number) == (again, 2)
    assert github.pull(1)["title"] == "two"
    assert github.pull(1)["labels"] == ["env/prod"]


def test_closed_pull_request_is_not_reopened(github: FakeGitHub, tmp_path: Path):
    github.add("promote/prod", state="closed")
    assert (
        GitHub(tmp_path)
        .create_or_update(branch="promote/prod", base="main", title="t", body="b")
        .number
        == 2
    )


def test_branch_of_a_fork_is_ignored(github: FakeGitHub, tmp_path: Path):
    github.add("promote/prod", fork=True)
    created = GitHub(tmp_path).create_or_update(
        branch="promote/prod", base="main", title="t", body="b"
    )
    assert created.number == 2
    assert github.pull(1)["title"] == "t"


def test_auto_merge_is_enabled_and_disabled(github: FakeGitHub, tmp_path: Path):
    github.add("promote/staging")
    gh = GitHub(tmp_path)
    gh.enable_auto_merge(1)
    assert github.pull(1)["auto"]
    gh.disable_auto_merge(1)
    assert not github.pull(1)["auto"]


def test_comment_is_updated_in_place(github: FakeGitHub, ada: Clone, tmp_path: Path):
    github.add("feature", labels=["env/prod", "bug"])
    # a user imitates the bot
    github.add_comment(1, "<!-- gitops: rendered-difference -->\nnothing to see here")
    github.add_comment(1, "thanks", kind="Bot")
    folder = tmp_path / "difference"
    folder.mkdir()
    command = ["-C", str(ada.directory), "annotate", "1", "--from", str(folder)]
    for environments in (["dev", "prod"], ["dev", "staging"]):
        (folder / "difference.md").write_text(f"of {environments}\n")
        (folder / "environments.json").write_text(json.dumps(environments))
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
    bodies = [comment["body"] for comment in github.read()["comments"]]
    assert len(bodies) == 3
    assert bodies[2] == (
        "<!-- gitops: rendered-difference -->\n## Rendered difference\n\nof ['dev', 'staging']\n"
    )
    assert sorted(github.pull(1)["labels"]) == ["bug", "env/dev", "env/staging"]


def test_difference_of_charts_is_a_second_comment(github: FakeGitHub, ada: Clone, tmp_path: Path):
    github.add("feature")
    (tmp_path / "difference.md").write_text("text\n")
    (tmp_path / "environments.json").write_text("[]")
    (tmp_path / "charts.md").write_text("### stack: 1.0.0 → 1.1.0\n")
    result = CliRunner().invoke(
        main, ["-C", str(ada.directory), "annotate", "1", "--from", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert [comment["body"] for comment in github.read()["comments"]] == [
        "<!-- gitops: rendered-difference -->\n## Rendered difference\n\ntext\n",
        "<!-- gitops: chart-difference -->\n## Difference of charts\n\n### stack: 1.0.0 → 1.1.0\n",
    ]


def test_only_known_labels_are_set(github: FakeGitHub, ada: Clone, tmp_path: Path):
    """A pull request wrote the input, and the command runs with a token that may write."""
    github.add("feature")
    (tmp_path / "difference.md").write_text("x" * 100_000)
    (tmp_path / "environments.json").write_text('["dev", "approved", "--add-label=x", 3]')
    result = CliRunner().invoke(
        main, ["-C", str(ada.directory), "annotate", "1", "--from", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert github.pull(1)["labels"] == ["env/dev"]
    assert len(github.read()["comments"][0]["body"]) < 200
    (tmp_path / "environments.json").write_text("3")
    result = CliRunner().invoke(
        main, ["-C", str(ada.directory), "annotate", "1", "--from", str(tmp_path)]
    )
    assert "was not written by gitops diff" in result.output


def test_comparison_of_rules_has_its_own_comment(github: FakeGitHub, ada: Clone, tmp_path: Path):
    github.add("feature")
    rules = tmp_path / "rules.md"
    command = ["-C", str(ada.directory), "annotate", "1", "--rules", str(rules)]
    for text in ("1 gained", "2 gained", "x" * 100_000):
        rules.write_text(text)
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
    (comment,) = github.read()["comments"]
    assert comment["body"] == "<!-- gitops: rules -->\nThe comparison of the rules is too long."
    assert CliRunner().invoke(main, command[:4]).exit_code == 2


def test_pr_uses_the_output_of_promote(github: FakeGitHub, ada: Clone, tmp_path: Path):
    (tmp_path / "title.txt").write_text("A title\n")
    (tmp_path / "body.md").write_text("A body\n")
    result = CliRunner().invoke(
        main,
        ["-C", str(ada.directory), "pr", "promote/staging", "--from", str(tmp_path), "--label", "env/staging", "--auto-merge"],
    )  # fmt: skip
    assert result.output == "https://github.com/o/r/pull/1\n"
    assert github.pull(1)["auto"]


def test_error_of_github_is_reported(github: FakeGitHub, tmp_path: Path):
    github.write({**github.read(), "down": True})
    with pytest.raises(CommandError, match="HTTP 502"):
        GitHub(tmp_path).find(branch="a", base="main")


def test_without_gh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissingError, match="gh is not on PATH"):
        GitHub(tmp_path)
    assert issubclass(ProgramMissingError, GitOpsError)
