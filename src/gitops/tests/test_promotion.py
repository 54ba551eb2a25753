"""What runs in one environment, offered to the next."""

import shutil

import pytest

from gitops import bump, layout, pin, promotion
from gitops.errors import GitOpsError, MovesBackError, PushRefusedError, UnknownRevisionError
from gitops.promotion import Promotion

from .forge import BOT, Clone, Forge, Programs, git, release
from .stand_ins import SIGNED, FakeGitHub, cosign, trivy

ONE, TWO, THREE = "notification-service", "audit-log-analysis", "event-audit-dashboard"


def deploy(forge: Forge, *services: str, number: int = 1, environment: str = "dev") -> str:
    """Merge a change, and let the environment run it; the commit that does so."""
    person = forge.clone()
    commit = person.commit(
        {f"src/{one}/main.py": f"{number}\n" for one in services}, f"change {number}"
    )
    person.push()
    done = bump.bump(
        person.repository, [release(one, commit, number) for one in services],
        environment=environment, branch="main", identity=BOT,
    )  # fmt: skip
    assert done.commit
    return done.commit


def promote(
    clone: Clone, source: str = "dev", target: str = "staging", at: str | None = None
) -> Promotion:
    return promotion.promote(
        clone.repository, source=source, target=target, main="main", identity=BOT, at=at
    )


def test_a_promotion_copies_exactly_what_runs(bot: Clone, forge: Forge):
    deploy(forge, ONE, number=1)
    deploy(forge, TWO, number=2)

    made = promote(bot)

    assert forge.branches() == {"main", "promote/staging"}
    for service in (ONE, TWO):
        of_dev = forge.show(layout.release(service, "dev"))
        assert forge.show(layout.release(service, "staging"), at="promote/staging") == of_dev
    # it is one commit on main, and touches nothing else
    assert git(forge.directory, "rev-parse", "promote/staging~1") == forge.head()
    touched = git(forge.directory, "diff", "--name-only", "main", "promote/staging").splitlines()
    assert set(touched) == {layout.release(service, "staging") for service in (ONE, TWO)}
    assert forge.log("promote/staging")[0] == f"Promote {TWO}, {ONE} from dev to staging"
    assert made.commit == forge.head("promote/staging")
    # nothing of it is on main before somebody merges it
    assert not forge.pin(ONE, "staging").released


def test_merged_it_runs_there_and_goes_on_to_prod(ada: Clone, bot: Clone, forge: Forge):
    deploy(forge, ONE)
    promote(bot)
    ada.pull()
    ada.merge("promote/staging")
    assert forge.pin(ONE, "staging") == forge.pin(ONE, "dev")
    assert promote(bot).moves == ()
    promote(bot, "staging", "prod")
    ada.merge("promote/prod")
    assert forge.pin(ONE, "prod") == forge.pin(ONE, "dev")


def test_a_newer_promotion_takes_the_place_of_an_older_one(bot: Clone, forge: Forge):
    deploy(forge, ONE, number=1)
    first = promote(bot)
    deploy(forge, ONE, TWO, number=2)
    second = promote(bot)
    assert first.commit != second.commit == forge.head("promote/staging")
    assert forge.pin(ONE, "staging", at="promote/staging") == forge.pin(ONE, "dev")
    assert forge.log("promote/staging").count(f"Promote {ONE} from dev to staging") == 0


def test_an_older_promotion_never_takes_the_place_of_a_newer_one(bot: Clone, forge: Forge):
    """Messages of Argo CD may overtake each other."""
    early = deploy(forge, ONE, number=1)
    deploy(forge, ONE, number=2)
    promote(bot)
    after = forge.head("promote/staging")
    late = promote(bot, at=early)
    assert late.overtaken
    assert forge.head("promote/staging") == after


def test_only_what_was_seen_to_run_is_promoted(bot: Clone, forge: Forge):
    synced = deploy(forge, ONE, number=1)
    deploy(forge, ONE, number=2)
    made = promote(bot, at=synced)
    assert [move.after for move in made.moves] == [forge.pin(ONE, "dev", at=synced)]


def test_a_promotion_that_is_open_and_the_same_is_left_alone(ada: Clone, bot: Clone, forge: Forge):
    """Pushed anew, it would lose its reviews and its checks."""
    deploy(forge, ONE)
    first = promote(bot)
    ada.pull()
    ada.commit({"docs/a.md": "elsewhere"})
    ada.push()
    assert promote(bot).commit == first.commit


def test_a_promotion_whose_target_moved_is_made_anew(ada: Clone, bot: Clone, forge: Forge):
    deploy(forge, ONE, TWO)
    first = promote(bot)
    ada.pull()
    path = layout.release(TWO, "staging")
    ada.commit({path: (ada.directory / layout.release(TWO, "dev")).read_text()}, "by hand")
    ada.push()
    second = promote(bot)
    assert second.commit != first.commit
    assert [move.service for move in second.moves] == [ONE]
    assert git(forge.directory, "merge-base", "main", "promote/staging") == forge.head()


def test_nothing_to_promote_takes_an_open_promotion_away(ada: Clone, bot: Clone, forge: Forge):
    """Else it would still offer what was taken out of dev."""
    deploy(forge, ONE, number=1)
    promote(bot)
    ada.pull()
    ada.merge("promote/staging")
    deploy(forge, ONE, number=2)
    promote(bot)
    ada.pull()
    git(ada.directory, "revert", "--no-edit", "HEAD")
    ada.push()
    made = promote(bot)
    assert (made.moves, made.commit) == ((), None)
    assert forge.branches() == {"main"}


def test_what_was_taken_back_is_marked(ada: Clone, bot: Clone, forge: Forge):
    deploy(forge, ONE, number=1)
    promote(bot)
    ada.pull()
    ada.merge("promote/staging")
    deploy(forge, ONE, number=2)
    promote(bot)
    ada.pull()
    ada.merge("promote/staging")
    git(ada.directory, "revert", "--no-edit", "--mainline", "1", "HEAD")
    ada.push()
    made = promote(bot)
    assert made.returns == (ONE,)


def test_a_promotion_never_goes_back(bot: Clone, forge: Forge):
    deploy(forge, ONE, number=2, environment="staging")
    deploy(forge, ONE, number=3, environment="staging")
    person = forge.clone()
    old = git(person.directory, "rev-list", "--max-parents=0", "HEAD")
    person.commit({layout.release(ONE, "dev"): pin.write(release(ONE, old).pin).decode()})
    person.push()
    with pytest.raises(MovesBackError, match="gitops rollback --env staging"):
        promote(bot)
    assert "promote/staging" not in forge.branches()


def test_what_was_never_released_stays_out(bot: Clone, forge: Forge):
    deploy(forge, ONE)
    assert [move.service for move in promote(bot).moves] == [ONE]


@pytest.mark.parametrize(
    ("source", "target"),
    [("dev", "prod"), ("staging", "dev"), ("prod", "staging"), ("dev", "dev")],
)
def test_no_environment_is_passed_by(bot: Clone, source, target):
    with pytest.raises(GitOpsError, match="from dev to staging and from staging to prod"):
        promote(bot, source, target)


def test_what_is_not_on_main_is_not_promoted(ada: Clone, bot: Clone):
    ada.commit({"a": "b"})
    commit = ada.push("feature")
    git(bot.directory, "fetch", "--quiet")
    with pytest.raises(GitOpsError, match="is not on main"):
        promote(bot, at=commit)
    with pytest.raises(UnknownRevisionError, match="no commit of this clone"):
        promote(bot, at="--upload-pack=touch /tmp/x")


def test_a_forge_that_refuses_the_branch_is_heard(bot: Clone, forge: Forge):
    deploy(forge, ONE)
    forge.hook(
        "update",
        'case "$1" in refs/heads/promote/*) echo "no such branches here" >&2; exit 1 ;; esac',
    )
    with pytest.raises(PushRefusedError, match="no such branches here"):
        promote(bot)


def test_of_two_that_promote_at_once_one_wins_whole(bot: Clone, forge: Forge):
    """Somebody puts a promotion there between our look and our push."""
    deploy(forge, ONE, number=1)
    early = forge.head()
    deploy(forge, ONE, number=2)
    rival = forge.clone()
    real = bot.repository
    pushed: list[str] = []

    class Slow(type(real)):  # type: ignore[misc]
        def replace(self, commit, branch, *, expected):
            if not pushed:
                pushed.append(str(promote(rival).commit))
            super().replace(commit, branch, expected=expected)

    slow = Slow(bot.directory)
    made = promotion.promote(
        slow, source="dev", target="staging", main="main", identity=BOT, at=early
    )
    assert made.overtaken
    assert forge.head("promote/staging") == pushed[0]


def test_nowhere_to_promote_from(bot: Clone):
    with pytest.raises(GitOpsError, match="has no branch nowhere"):
        promotion.promote(
            bot.repository, source="dev", target="staging", main="nowhere", identity=BOT
        )
    assert "prod is the last environment" in run(bot, "promote", "--from", "prod", expect=1)


# The command, with its pull request.


def run(clone: Clone, *arguments: str, expect: int = 0) -> str:
    from click.testing import CliRunner

    from gitops.cli import main

    done = CliRunner().invoke(
        main, ["-C", str(clone.directory), *arguments, "--kustomize", "/bin/false"],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == expect, done.output
    return done.output


def test_the_pull_request_is_opened_and_then_kept_up_to_date(
    ada: Clone,
    bot: Clone,
    forge: Forge,
    github: FakeGitHub,
):
    deploy(forge, ONE, number=1)
    said = run(bot, "promote", "--from", "dev", "--pull-request", "--auto-merge")
    assert said == "https://github.com/o/r/pull/1\n"
    first = github.pull(1)
    assert first["title"] == f"Promote {ONE} from dev to staging"
    assert first["labels"] == ["env/staging"]
    assert first["auto"]

    deploy(forge, ONE, TWO, number=2)
    run(bot, "promote", "--from", "dev", "--to", "staging", "--pull-request")
    assert github.numbers() == [1]
    second = github.pull(1)
    assert second["title"] == f"Promote {TWO}, {ONE} from dev to staging"
    assert "change 2 (Ada)" in second["body"]
    assert not second["auto"]


def test_into_prod_nothing_merges_itself(
    ada: Clone,
    bot: Clone,
    forge: Forge,
    github: FakeGitHub,
    monkeypatch,
):
    monkeypatch.setenv("GITOPS_AUTO_MERGE", "true")
    deploy(forge, ONE, environment="staging")
    run(bot, "promote", "--from", "staging", "--pull-request")
    assert not github.pull(1)["auto"]
    assert "waits for a person" in github.pull(1)["body"]


def test_what_was_taken_back_does_not_merge_itself(
    ada: Clone,
    bot: Clone,
    forge: Forge,
    github: FakeGitHub,
):
    deploy(forge, ONE, number=1, environment="staging")
    deploy(forge, ONE, number=2, environment="staging")
    ada.pull()
    git(ada.directory, "revert", "--no-edit", "HEAD")
    ada.push()
    person = forge.clone()
    path = layout.release(ONE, "staging")
    person.commit(
        {layout.release(ONE, "dev"): git(person.directory, "show", f"HEAD~1:{path}") + "\n"}
    )
    person.push()
    run(bot, "promote", "--from", "dev", "--pull-request", "--auto-merge")
    assert not github.pull(1)["auto"]
    assert "taken back" in github.pull(1)["body"]


def test_an_image_that_is_not_ours_stops_it(bot: Clone, forge: Forge, programs: Programs):
    deploy(forge, ONE)
    cosign(programs, "exit 1")
    trivy(programs, {})
    said = run(bot, "promote", "--from", "dev", "--inspect", expect=1)
    assert "is not signed by https://github.com/jojees/project-genesis/" in said
    assert forge.branches() == {"main"}


def test_what_is_known_is_in_the_text(
    ada: Clone, bot: Clone, forge: Forge, programs: Programs, tmp_path
):
    deploy(forge, ONE, number=1)
    cosign(programs, SIGNED)
    trivy(programs, {1: ["CVE-1", "CVE-2"], 2: ["CVE-2", "CVE-3"]})
    run(bot, "promote", "--from", "dev", "--inspect")
    ada.pull()
    ada.merge("promote/staging")
    deploy(forge, ONE, number=2)

    said = run(bot, "promote", "--from", "dev", "--inspect", "--out", str(tmp_path / "out"))

    assert "each image is signed by this repository's build on main" in said
    assert f"| {ONE} | 2 high | 2 high | `CVE-3` | `CVE-1` |" in said
    assert f"<details><summary>{ONE}: 1 commit</summary>" in said
    assert (tmp_path / "out/title.txt").read_text() == f"Promote {ONE} from dev to staging\n"
    assert len(list((tmp_path / "out/scans").iterdir())) == 2


def test_unasked_nobody_claims_to_have_looked(bot: Clone, forge: Forge, monkeypatch):
    deploy(forge, ONE)
    said = run(bot, "promote", "--from", "dev")
    assert "**Signatures:** not checked here." in said
    assert "**Scans:** none were made here." in said
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "needed to inspect images" in run(bot, "promote", "--from", "dev", "--inspect", expect=1)
