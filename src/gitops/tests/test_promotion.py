"""Promotion from one environment to the next."""

import shutil

import pytest

from gitops import bump, layout, pin, promotion
from gitops.errors import DowngradeError, GitOpsError, PushRefusedError, UnknownRevisionError
from gitops.promotion import Promotion

from .forge import BOT, Clone, Forge, Programs, git, release
from .stand_ins import SIGNED, FakeGitHub, cosign, trivy

NOTIFICATION, ANALYSIS, DASHBOARD = (
    "notification-service",
    "audit-log-analysis",
    "event-audit-dashboard",
)


def deploy(forge: Forge, *services: str, number: int = 1, environment: str = "dev") -> str:
    """Merge a change and pin it in the environment. Returns the commit that pins it."""
    person = forge.clone()
    commit = person.commit(
        {f"src/{service}/main.py": f"{number}\n" for service in services}, f"change {number}"
    )
    person.push()
    bumped = bump.bump(
        person.repository, [release(service, commit, number) for service in services],
        environment=environment, branch="main", identity=BOT,
    )  # fmt: skip
    assert bumped.commit
    return bumped.commit


def promote(
    clone: Clone, source: str = "dev", target: str = "staging", at: str | None = None
) -> Promotion:
    return promotion.promote(
        clone.repository, source=source, target=target, main="main", identity=BOT, at=at
    )


def test_promotion_copies_the_pins_of_the_source(bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION, number=1)
    deploy(forge, ANALYSIS, number=2)

    promoted = promote(bot)

    assert forge.branches() == {"main", "promote/staging"}
    for service in (NOTIFICATION, ANALYSIS):
        dev_pin = forge.show(layout.release(service, "dev"))
        assert forge.show(layout.release(service, "staging"), at="promote/staging") == dev_pin
    # the branch is one commit on top of main and changes only pins
    assert git(forge.directory, "rev-parse", "promote/staging~1") == forge.head()
    touched = git(forge.directory, "diff", "--name-only", "main", "promote/staging").splitlines()
    assert set(touched) == {
        layout.release(service, "staging") for service in (NOTIFICATION, ANALYSIS)
    }
    assert (
        forge.log("promote/staging")[0] == f"Promote {ANALYSIS}, {NOTIFICATION} from dev to staging"
    )
    assert promoted.commit == forge.head("promote/staging")
    # main is unchanged until a person merges the branch
    assert not forge.pin(NOTIFICATION, "staging").released


def test_merged_promotion_can_be_promoted_to_prod(ada: Clone, bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION)
    promote(bot)
    ada.pull()
    ada.merge("promote/staging")
    assert forge.pin(NOTIFICATION, "staging") == forge.pin(NOTIFICATION, "dev")
    assert promote(bot).moves == ()
    promote(bot, "staging", "prod")
    ada.merge("promote/prod")
    assert forge.pin(NOTIFICATION, "prod") == forge.pin(NOTIFICATION, "dev")


def test_newer_promotion_replaces_older_promotion(bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION, number=1)
    first = promote(bot)
    deploy(forge, NOTIFICATION, ANALYSIS, number=2)
    second = promote(bot)
    assert first.commit != second.commit == forge.head("promote/staging")
    assert forge.pin(NOTIFICATION, "staging", at="promote/staging") == forge.pin(
        NOTIFICATION, "dev"
    )
    assert forge.log("promote/staging").count(f"Promote {NOTIFICATION} from dev to staging") == 0


def test_older_promotion_never_replaces_newer_promotion(bot: Clone, forge: Forge):
    """Messages of Argo CD can arrive in the wrong order."""
    early = deploy(forge, NOTIFICATION, number=1)
    deploy(forge, NOTIFICATION, number=2)
    promote(bot)
    after = forge.head("promote/staging")
    late = promote(bot, at=early)
    assert late.superseded
    assert forge.head("promote/staging") == after


def test_only_the_deployed_commit_is_promoted(bot: Clone, forge: Forge):
    synced = deploy(forge, NOTIFICATION, number=1)
    deploy(forge, NOTIFICATION, number=2)
    promoted = promote(bot, at=synced)
    assert [move.after for move in promoted.moves] == [forge.pin(NOTIFICATION, "dev", at=synced)]


def test_open_promotion_with_same_pins_is_kept(ada: Clone, bot: Clone, forge: Forge):
    """A new commit would lose the reviews and checks."""
    deploy(forge, NOTIFICATION)
    first = promote(bot)
    ada.pull()
    ada.commit({"docs/a.md": "elsewhere"})
    ada.push()
    assert promote(bot).commit == first.commit


def test_promotion_is_recreated_when_the_target_changed(ada: Clone, bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION, ANALYSIS)
    first = promote(bot)
    ada.pull()
    path = layout.release(ANALYSIS, "staging")
    ada.commit({path: (ada.directory / layout.release(ANALYSIS, "dev")).read_text()}, "by hand")
    ada.push()
    second = promote(bot)
    assert second.commit != first.commit
    assert [move.service for move in second.moves] == [NOTIFICATION]
    assert git(forge.directory, "merge-base", "main", "promote/staging") == forge.head()


def test_open_promotion_is_deleted_when_there_is_nothing_to_promote(
    ada: Clone, bot: Clone, forge: Forge
):
    """Otherwise it would promote an image that dev no longer runs."""
    deploy(forge, NOTIFICATION, number=1)
    promote(bot)
    ada.pull()
    ada.merge("promote/staging")
    deploy(forge, NOTIFICATION, number=2)
    promote(bot)
    ada.pull()
    git(ada.directory, "revert", "--no-edit", "HEAD")
    ada.push()
    promoted = promote(bot)
    assert (promoted.moves, promoted.commit) == ((), None)
    assert forge.branches() == {"main"}


def test_rolled_back_version_is_marked(ada: Clone, bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION, number=1)
    promote(bot)
    ada.pull()
    ada.merge("promote/staging")
    deploy(forge, NOTIFICATION, number=2)
    promote(bot)
    ada.pull()
    ada.merge("promote/staging")
    git(ada.directory, "revert", "--no-edit", "--mainline", "1", "HEAD")
    ada.push()
    promoted = promote(bot)
    assert promoted.rolled_back == (NOTIFICATION,)


def test_promotion_never_deploys_an_older_commit(bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION, number=2, environment="staging")
    deploy(forge, NOTIFICATION, number=3, environment="staging")
    person = forge.clone()
    old = git(person.directory, "rev-list", "--max-parents=0", "HEAD")
    person.commit(
        {layout.release(NOTIFICATION, "dev"): pin.write(release(NOTIFICATION, old).pin).decode()}
    )
    person.push()
    with pytest.raises(DowngradeError, match="gitops rollback --env staging"):
        promote(bot)
    assert "promote/staging" not in forge.branches()


def test_unreleased_services_are_left_out(bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION)
    assert [move.service for move in promote(bot).moves] == [NOTIFICATION]


@pytest.mark.parametrize(
    ("source", "target"),
    [("dev", "prod"), ("staging", "dev"), ("prod", "staging"), ("dev", "dev")],
)
def test_no_environment_is_skipped(bot: Clone, source, target):
    with pytest.raises(GitOpsError, match="from dev to staging and from staging to prod"):
        promote(bot, source, target)


def test_commit_that_is_not_on_main_is_not_promoted(ada: Clone, bot: Clone):
    ada.commit({"a": "b"})
    commit = ada.push("feature")
    git(bot.directory, "fetch", "--quiet")
    with pytest.raises(GitOpsError, match="is not on main"):
        promote(bot, at=commit)
    with pytest.raises(UnknownRevisionError, match="not a commit of this clone"):
        promote(bot, at="--upload-pack=touch /tmp/x")


def test_refused_push_is_reported(bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION)
    forge.hook(
        "update",
        'case "$1" in refs/heads/promote/*) echo "no such branches here" >&2; exit 1 ;; esac',
    )
    with pytest.raises(PushRefusedError, match="no such branches here"):
        promote(bot)


def test_two_promotions_at_the_same_time(bot: Clone, forge: Forge):
    """Another process creates the promotion between our read and our push."""
    deploy(forge, NOTIFICATION, number=1)
    early = forge.head()
    deploy(forge, NOTIFICATION, number=2)
    rival = forge.clone()
    pushed: list[str] = []

    class Racing(type(bot.repository)):  # type: ignore[misc]
        def replace(self, commit, branch, *, expected):
            if not pushed:
                pushed.append(str(promote(rival).commit))
            super().replace(commit, branch, expected=expected)

    racing = Racing(bot.directory)
    promoted = promotion.promote(
        racing, source="dev", target="staging", main="main", identity=BOT, at=early
    )
    assert promoted.superseded
    assert forge.head("promote/staging") == pushed[0]


def test_unknown_branch_and_last_environment(bot: Clone):
    with pytest.raises(GitOpsError, match="has no branch nowhere"):
        promotion.promote(
            bot.repository, source="dev", target="staging", main="nowhere", identity=BOT
        )
    assert "prod is the last environment" in run(bot, "promote", "--from", "prod", expect=1)


# Tests of the command and its pull request.


def run(clone: Clone, *arguments: str, expect: int = 0) -> str:
    from click.testing import CliRunner

    from gitops.cli import main

    result = CliRunner().invoke(
        main, ["-C", str(clone.directory), *arguments, "--kustomize", "/bin/true"],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == expect, result.output
    return result.output


def test_pull_request_is_created_and_then_updated(
    ada: Clone,
    bot: Clone,
    forge: Forge,
    github: FakeGitHub,
):
    deploy(forge, NOTIFICATION, number=1)
    output = run(bot, "promote", "--from", "dev", "--pull-request", "--auto-merge")
    assert output == "https://github.com/o/r/pull/1\n"
    first = github.pull(1)
    assert first["title"] == f"Promote {NOTIFICATION} from dev to staging"
    assert first["labels"] == ["env/staging"]
    assert first["auto"]

    deploy(forge, NOTIFICATION, ANALYSIS, number=2)
    run(bot, "promote", "--from", "dev", "--to", "staging", "--pull-request")
    assert github.numbers() == [1]
    second = github.pull(1)
    assert second["title"] == f"Promote {ANALYSIS}, {NOTIFICATION} from dev to staging"
    assert "change 2 (Ada)" in second["body"]
    assert not second["auto"]


def test_promotion_to_prod_is_never_merged_automatically(
    ada: Clone,
    bot: Clone,
    forge: Forge,
    github: FakeGitHub,
    monkeypatch,
):
    monkeypatch.setenv("GITOPS_AUTO_MERGE", "true")
    deploy(forge, NOTIFICATION, environment="staging")
    run(bot, "promote", "--from", "staging", "--pull-request")
    assert not github.pull(1)["auto"]
    assert "A person must then sync prod" in github.pull(1)["body"]


def test_rolled_back_version_is_not_merged_automatically(
    ada: Clone,
    bot: Clone,
    forge: Forge,
    github: FakeGitHub,
):
    deploy(forge, NOTIFICATION, number=1, environment="staging")
    deploy(forge, NOTIFICATION, number=2, environment="staging")
    ada.pull()
    git(ada.directory, "revert", "--no-edit", "HEAD")
    ada.push()
    person = forge.clone()
    path = layout.release(NOTIFICATION, "staging")
    person.commit(
        {
            layout.release(NOTIFICATION, "dev"): git(person.directory, "show", f"HEAD~1:{path}")
            + "\n"
        }
    )
    person.push()
    run(bot, "promote", "--from", "dev", "--pull-request", "--auto-merge")
    assert not github.pull(1)["auto"]
    assert "was rolled back" in github.pull(1)["body"]


def test_unsigned_image_stops_the_promotion(bot: Clone, forge: Forge, programs: Programs):
    deploy(forge, NOTIFICATION)
    cosign(programs, "exit 1")
    trivy(programs, {})
    output = run(bot, "promote", "--from", "dev", "--inspect", expect=1)
    assert "is not signed by https://github.com/jojees/project-genesis/" in output
    assert forge.branches() == {"main"}


def test_body_contains_signatures_scans_and_commits(
    ada: Clone, bot: Clone, forge: Forge, programs: Programs, tmp_path
):
    deploy(forge, NOTIFICATION, number=1)
    cosign(programs, SIGNED)
    trivy(programs, {1: ["CVE-1", "CVE-2"], 2: ["CVE-2", "CVE-3"]})
    run(bot, "promote", "--from", "dev", "--inspect")
    ada.pull()
    ada.merge("promote/staging")
    deploy(forge, NOTIFICATION, number=2)

    output = run(bot, "promote", "--from", "dev", "--inspect", "--out", str(tmp_path / "out"))

    assert "each image is signed by this repository's build on main" in output
    assert f"| {NOTIFICATION} | 2 high | 2 high | `CVE-3` | `CVE-1` |" in output
    assert f"<details><summary>{NOTIFICATION}: 1 commit</summary>" in output
    assert (
        tmp_path / "out/title.txt"
    ).read_text() == f"Promote {NOTIFICATION} from dev to staging\n"
    assert len(list((tmp_path / "out/scans").iterdir())) == 2


def test_body_reports_missing_checks(bot: Clone, forge: Forge, monkeypatch):
    deploy(forge, NOTIFICATION)
    output = run(bot, "promote", "--from", "dev")
    assert "**Signatures:** not checked." in output
    assert "**Scans:** not run." in output
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "required to inspect images" in run(
        bot, "promote", "--from", "dev", "--inspect", expect=1
    )
