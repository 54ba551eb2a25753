"""Rollback of an environment."""

import pytest

from gitops import rollback
from gitops.rollback import NothingToRevertError, Rollback

from .forge import BOT, Clone, Forge, git
from .stand_ins import FakeGitHub
from .test_promotion import ANALYSIS, NOTIFICATION, deploy, promote, run


def roll_back(clone: Clone, environment: str, revert: str | None = None) -> Rollback:
    return rollback.rollback(
        clone.repository, environment=environment, main="main", revert=revert, identity=BOT
    )


def promoted(ada: Clone, bot: Clone, forge: Forge, *services: str, number: int) -> str:
    """Deploy to dev, promote to staging and merge. Returns the merge commit."""
    deploy(forge, *services, number=number)
    promote(bot)
    ada.pull()
    return ada.merge("promote/staging")


def test_last_promotion_is_reverted(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, NOTIFICATION, ANALYSIS, number=1)
    before = forge.pin(NOTIFICATION, "staging")
    merge = promoted(ada, bot, forge, NOTIFICATION, number=2)
    assert forge.pin(NOTIFICATION, "staging") != before

    reverted = roll_back(bot, "staging")

    assert reverted.reverted == merge
    assert [move.service for move in reverted.moves] == [NOTIFICATION]
    ada.merge("rollback/staging")
    assert forge.pin(NOTIFICATION, "staging") == before
    # dev and the other pins do not change
    assert forge.pin(NOTIFICATION, "dev").digest.endswith("2")
    assert forge.pin(ANALYSIS, "staging").digest.endswith("1")


def test_squashed_promotion_is_reverted(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, NOTIFICATION, number=1)
    before = forge.pin(NOTIFICATION, "staging")
    deploy(forge, NOTIFICATION, number=2)
    promote(bot)
    ada.pull()
    git(ada.directory, "fetch", "-q", "origin")
    git(ada.directory, "merge", "-q", "--squash", "origin/promote/staging")
    ada.commit({}, "Promote (#7)")
    ada.push()
    reverted = roll_back(bot, "staging")
    assert reverted.subject == "Promote (#7)"
    assert reverted.moves[0].after == before
    assert forge.log("rollback/staging")[0] == 'Revert "Promote (#7)"'


def test_later_changes_of_other_services_are_kept(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, NOTIFICATION, ANALYSIS, number=1)
    first = promoted(ada, bot, forge, NOTIFICATION, number=2)
    promoted(ada, bot, forge, ANALYSIS, number=3)
    roll_back(bot, "staging", revert=first)
    ada.merge("rollback/staging")
    assert forge.pin(NOTIFICATION, "staging").digest.endswith("1")
    assert forge.pin(ANALYSIS, "staging").digest.endswith("3")


def test_change_with_a_later_change_of_the_same_pin_is_refused(
    ada: Clone, bot: Clone, forge: Forge
):
    promoted(ada, bot, forge, NOTIFICATION, number=1)
    first = promoted(ada, bot, forge, NOTIFICATION, number=2)
    promoted(ada, bot, forge, NOTIFICATION, number=3)
    with pytest.raises(NothingToRevertError, match="Revert the later change first"):
        roll_back(bot, "staging", revert=first)


def test_first_release_cannot_be_reverted(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, NOTIFICATION, number=1)
    with pytest.raises(NothingToRevertError, match="first release"):
        roll_back(bot, "staging")
    with pytest.raises(NothingToRevertError, match="no commit has changed the pins"):
        roll_back(bot, "prod")


def test_commit_without_pin_changes_is_refused(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, NOTIFICATION, number=1)
    commit = ada.commit({"docs/a.md": "b"})
    ada.push()
    git(bot.directory, "fetch", "--quiet")
    with pytest.raises(NothingToRevertError, match="did not change the pins of staging"):
        roll_back(bot, "staging", revert=commit)


def test_pull_request(ada: Clone, bot: Clone, forge: Forge, github: FakeGitHub):
    promoted(ada, bot, forge, NOTIFICATION, number=1)
    promoted(ada, bot, forge, NOTIFICATION, number=2)
    run(bot, "rollback", "--env", "staging", "--revert", "", "--pull-request")
    pull = github.pull(1)
    assert pull["title"] == f"Roll back {NOTIFICATION} in staging"
    assert "migrations only expand" in pull["body"]
    assert pull["labels"] == ["env/staging"]
    assert not pull["auto"]
