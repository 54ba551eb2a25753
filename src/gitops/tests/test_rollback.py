"""Rollback of an environment."""

import pytest

from gitops import layout, migrations, pin, rollback
from gitops.rollback import NothingToRevertError, Rollback

from .forge import BOT, Clone, Forge, git, release
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
    with pytest.raises(NothingToRevertError, match="no commit has changed prod"):
        roll_back(bot, "prod")


def test_commit_without_pin_changes_is_refused(ada: Clone, bot: Clone, forge: Forge):
    promoted(ada, bot, forge, NOTIFICATION, number=1)
    commit = ada.commit({"docs/a.md": "b"})
    ada.push()
    git(bot.directory, "fetch", "--quiet")
    with pytest.raises(NothingToRevertError, match="did not change staging"):
        roll_back(bot, "staging", revert=commit)


def snapshot_file(app: str, environment: str, text: str) -> dict[str, str]:
    folder = f"apps/{app}/envs/{environment}"
    return {
        f"{folder}/kustomization.yaml": "components: [release]\n",
        f"{folder}/snapshot/apps/{app}/base/deployment.yaml": f"{text}\n",
    }


def change(ada: Clone, forge: Forge, number: int, *services: str) -> str:
    """Deploy to staging an image, an overlay and a base of each service in one merge."""
    ada.pull()
    commit = ada.commit({f"src/{name}/main.py": f"{number}\n" for name in services})
    files = {
        layout.release(name, "staging"): pin.write(release(name, commit, number).pin).decode()
        for name in services
    }
    for name in services:
        files |= snapshot_file(name, "staging", f"base {number}")
        files[f"apps/{name}/envs/staging/hpa.yaml"] = f"overlay {number}\n"
    ada.commit(files, f"promotion {number}")
    return ada.push()


def state(forge: Forge, service: str) -> tuple[str, str, str]:
    """The last digit of the image, the overlay and the base of a service in staging."""
    folder = f"apps/{service}/envs/staging"
    base = forge.show(f"{folder}/snapshot/apps/{service}/base/deployment.yaml")
    return forge.pin(service, "staging").digest[-1], forge.show(f"{folder}/hpa.yaml"), base


def test_image_overlay_and_base_are_restored_together(ada: Clone, bot: Clone, forge: Forge):
    change(ada, forge, 1, NOTIFICATION, ANALYSIS)
    change(ada, forge, 2, NOTIFICATION, ANALYSIS)
    reverted = rollback.rollback(
        bot.repository, environment="staging", service=ANALYSIS, main="main", identity=BOT
    )
    assert reverted.configuration == (ANALYSIS,)
    assert reverted.migration is None
    ada.merge("rollback/staging")
    assert state(forge, ANALYSIS) == ("1", "overlay 1", "base 1")
    assert state(forge, NOTIFICATION) == ("2", "overlay 2", "base 2")


def test_app_that_runs_the_image_of_the_service_is_rolled_back_too(
    ada: Clone, bot: Clone, forge: Forge
):
    archive = "audit-event-archive"
    overlay = f"components: [../../../{ANALYSIS}/envs/staging/release]\n"
    for number in (1, 2):
        change(ada, forge, number, ANALYSIS)
        files = snapshot_file(archive, "staging", f"base {number}")
        ada.commit({**files, f"apps/{archive}/envs/staging/kustomization.yaml": overlay})
        ada.push()
    rollback.rollback(
        bot.repository, environment="staging", service=ANALYSIS, to=2, main="main", identity=BOT
    )
    ada.merge("rollback/staging")
    assert state(forge, ANALYSIS)[0] == "1"
    folder = f"apps/{archive}/envs/staging/snapshot/apps/{archive}/base"
    assert forge.show(f"{folder}/deployment.yaml") == "base 1"


def test_several_changes_back(ada: Clone, bot: Clone, forge: Forge):
    for number in (1, 2, 3):
        change(ada, forge, number, ANALYSIS)
    run(bot, "rollback", "staging", ANALYSIS, "--to", "2")
    ada.merge("rollback/staging")
    assert state(forge, ANALYSIS) == ("1", "overlay 1", "base 1")
    # the rollback is a change too: its state before is 3
    run(bot, "rollback", "staging", ANALYSIS)
    ada.merge("rollback/staging")
    assert state(forge, ANALYSIS) == ("3", "overlay 3", "base 3")
    output = run(bot, "rollback", "staging", ANALYSIS, "--to", "99", expect=1)
    assert "not 99" in output


def test_file_that_the_change_added_is_deleted(ada: Clone, bot: Clone, forge: Forge):
    change(ada, forge, 1, ANALYSIS)
    path = f"apps/{ANALYSIS}/envs/staging/snapshot/added.yaml"
    ada.commit({path: "added\n"})
    ada.push()
    roll_back(bot, "staging")
    ada.merge("rollback/staging")
    assert not git(forge.directory, "ls-tree", "main", path)


MIGRATION = f"{migrations.FOLDER}/v0002_contract.py"


@pytest.mark.parametrize("arguments", [(), (NOTIFICATION,)])
def test_rollback_over_a_migration_that_drops_is_refused(
    ada: Clone, bot: Clone, forge: Forge, arguments: tuple[str, ...]
):
    change(ada, forge, 1, NOTIFICATION)
    ada.commit({MIGRATION: "op.execute('ALTER TABLE alerts DROP COLUMN title')\n"})
    change(ada, forge, 2, NOTIFICATION)
    output = run(bot, "rollback", "staging", *arguments, expect=1)
    assert "v0002_contract.py: drops (DROP COLUMN)" in output
    assert "rollback/staging" not in forge.branches()
    run(bot, "rollback", "staging", *arguments, "--accept-migration")
    assert "rollback/staging" in forge.branches()


def test_rollback_over_a_migration_that_expands_is_allowed(ada: Clone, bot: Clone, forge: Forge):
    change(ada, forge, 1, NOTIFICATION)
    ada.commit({MIGRATION: "op.execute('ALTER TABLE alerts ADD COLUMN note text')\n"})
    change(ada, forge, 2, NOTIFICATION)
    assert roll_back(bot, "staging").migration == (
        "The schema stays. Migrations that only the newer version has: v0002_contract.py."
    )


def test_pull_request(ada: Clone, bot: Clone, forge: Forge, github: FakeGitHub):
    promoted(ada, bot, forge, NOTIFICATION, number=1)
    promoted(ada, bot, forge, NOTIFICATION, number=2)
    run(bot, "rollback", "--env", "staging", "--revert", "", "--pull-request")
    pull = github.pull(1)
    assert pull["title"] == f"Roll back {NOTIFICATION} in staging"
    assert "images, configuration and bases" in pull["body"]
    assert pull["labels"] == ["env/staging"]
    assert not pull["auto"]
