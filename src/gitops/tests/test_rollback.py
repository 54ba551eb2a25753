"""The way back, as a branch to be merged."""

import pytest

from gitops import rollback
from gitops.rollback import NothingToRevertError, Rollback

from .forge import BOT, Clone, Forge, git
from .stand_ins import FakeGitHub
from .test_promotion import ONE, TWO, deploy, promote, run


def back(clone: Clone, environment: str, revert: str | None = None) -> Rollback:
    return rollback.rollback(
        clone.repository, environment=environment, main="main", revert=revert, identity=BOT
    )


def promoted(ada: Clone, bot: Clone, forge: Forge, *services: str, number: int) -> str:
    """Deploy to dev, promote, merge: the merge."""
    deploy(forge, *services, number=number)
    promote(bot)
    ada.pull()
    return ada.merge("promote/staging")


def test_the_last_promotion_is_taken_back(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, ONE, TWO, number=1)
    before = forge.pin(ONE, "staging")
    merge = promoted(ada, bot, forge, ONE, number=2)
    assert forge.pin(ONE, "staging") != before

    made = back(bot, "staging")

    assert made.reverted == merge
    assert [move.service for move in made.moves] == [ONE]
    ada.merge("rollback/staging")
    assert forge.pin(ONE, "staging") == before
    # dev and what nobody promoted stay
    assert forge.pin(ONE, "dev").digest.endswith("2")
    assert forge.pin(TWO, "staging").digest.endswith("1")


def test_a_squashed_promotion_is_taken_back_too(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, ONE, number=1)
    before = forge.pin(ONE, "staging")
    deploy(forge, ONE, number=2)
    promote(bot)
    ada.pull()
    git(ada.directory, "fetch", "-q", "origin")
    git(ada.directory, "merge", "-q", "--squash", "origin/promote/staging")
    ada.commit({}, "Promote (#7)")
    ada.push()
    made = back(bot, "staging")
    assert made.subject == "Promote (#7)"
    assert made.moves[0].after == before
    assert forge.log("rollback/staging")[0] == 'Revert "Promote (#7)"'


def test_others_that_came_since_stay(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, ONE, TWO, number=1)
    first = promoted(ada, bot, forge, ONE, number=2)
    promoted(ada, bot, forge, TWO, number=3)
    back(bot, "staging", revert=first)
    ada.merge("rollback/staging")
    assert forge.pin(ONE, "staging").digest.endswith("1")
    assert forge.pin(TWO, "staging").digest.endswith("3")


def test_what_a_later_change_stands_on_is_not_taken_away(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, ONE, number=1)
    first = promoted(ada, bot, forge, ONE, number=2)
    promoted(ada, bot, forge, ONE, number=3)
    with pytest.raises(NothingToRevertError, match="Take the later change back first"):
        back(bot, "staging", revert=first)


def test_before_the_first_release_there_is_nothing(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, ONE, number=1)
    with pytest.raises(NothingToRevertError, match="first release"):
        back(bot, "staging")
    with pytest.raises(NothingToRevertError, match="nothing was ever changed"):
        back(bot, "prod")


def test_a_commit_that_has_nothing_to_do_with_it(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, ONE, number=1)
    commit = ada.commit({"docs/a.md": "b"})
    ada.push()
    git(bot.directory, "fetch", "--quiet")
    with pytest.raises(NothingToRevertError, match="changed nothing in what staging runs"):
        back(bot, "staging", revert=commit)


def test_the_pull_request(ada: Clone, bot: Clone, forge: Forge, github: FakeGitHub):
    promoted(ada, bot, forge, ONE, number=1)
    promoted(ada, bot, forge, ONE, number=2)
    run(bot, "rollback", "--env", "staging", "--revert", "", "--pull-request")
    pull = github.pull(1)
    assert pull["title"] == f"Roll back {ONE} in staging"
    assert "migrations only expand" in pull["body"]
    assert pull["labels"] == ["env/staging"]
    assert not pull["auto"]
