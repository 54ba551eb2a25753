"""Pinning new images on main while others push."""

import os
import random
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitops import bump, layout, origin, pin, releases
from gitops.bump import Bumped
from gitops.cli import main
from gitops.errors import (
    CommandError,
    GitOpsError,
    InvalidPinError,
    NotOnBranchError,
    PushRefusedError,
    RacesLostError,
    ShallowCloneError,
    UnrelatedCommitsError,
)
from gitops.order import Order
from gitops.releases import InvalidReleaseError

from .forge import BOT, ROOT, Clone, Forge, digest, git, image, release

NOTIFICATION, ANALYSIS = "notification-service", "audit-log-analysis"
#: A pre-receive hook that adds another person's commit while a push is in progress.
CONCURRENT_PUSH = """
count=$(cat "$GIT_DIR/count" 2>/dev/null || echo 0)
[ "$count" -lt {times} ] || exit 0
echo $((count + 1)) >"$GIT_DIR/count"
unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
tip=$(git rev-parse refs/heads/main)
blob=$(echo "$count" | git hash-object -w --stdin)
export GIT_INDEX_FILE="$GIT_DIR/index.$count" GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=a@b
export GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=a@b
git read-tree "$tip"
git update-index --add --cacheinfo "100644,$blob,docs/$count.md"
commit=$(git commit-tree "$(git write-tree)" -p "$tip" -m "concurrent push $count")
git update-ref refs/heads/main "$commit" "$tip"
"""


def pin_releases(clone: Clone, *wanted, **options) -> Bumped:
    return bump.bump(
        clone.repository, wanted, environment="dev", branch="main", identity=BOT,
        wait=lambda _: None, **options,
    )  # fmt: skip


def test_bump_pins_all_built_images_in_one_commit(ada: Clone, bot: Clone, forge: Forge):
    commit = ada.commit({"src/auditflow/event.py": "..."})
    ada.push()
    git(bot.directory, "fetch", "--quiet")

    result = pin_releases(bot, *(release(service, commit) for service in layout.SERVICES))

    assert forge.log()[0].startswith("Deploy audit-event-generator, audit-log-analysis")
    assert git(forge.directory, "rev-list", "--count", f"{commit}..main") == "1"
    assert result.commit == forge.head()
    for service in layout.SERVICES:
        assert forge.pin(service, "dev") == release(service, commit).pin
        assert not forge.pin(service, "staging").released
    # only pins changed
    touched = git(forge.directory, "diff", "--name-only", "main~1", "main").splitlines()
    assert set(touched) == {layout.release(service, "dev") for service in layout.SERVICES}
    assert (
        git(forge.directory, "log", "-1", "--format=%an <%ae>", "main") == "bot <bot@example.org>"
    )


def test_bump_is_idempotent(bot: Clone, forge: Forge):
    first = pin_releases(bot, release(NOTIFICATION, bot.head))
    after = forge.head()
    again = pin_releases(bot, release(NOTIFICATION, bot.head))
    assert (first.results[0].order, again.results[0].order) == (Order.NEWER, Order.SAME)
    assert again.commit is None
    assert forge.head() == after


def test_second_build_of_a_commit_is_pinned(bot: Clone, forge: Forge):
    pin_releases(bot, release(NOTIFICATION, bot.head, 1))
    pin_releases(bot, release(NOTIFICATION, bot.head, 2))
    assert forge.pin(NOTIFICATION, "dev").digest == digest(2)


def test_pin_never_moves_to_an_older_commit(ada: Clone, bot: Clone, forge: Forge):
    # given two commits, and the newer one is pinned first
    older = ada.head
    newer = ada.commit({"src/notification-service/main.py": "two"})
    ada.push()
    git(bot.directory, "fetch", "--quiet")
    pin_releases(bot, release(NOTIFICATION, newer, 2))
    after = forge.head()

    # when the older commit is built
    result = pin_releases(bot, release(NOTIFICATION, older, 1))

    # then the pin does not change, and this is not an error
    assert result.results[0].order is Order.OLDER
    assert forge.head() == after
    # and other services in the same bump are pinned
    pin_releases(bot, release(NOTIFICATION, older, 1), release(ANALYSIS, older, 1))
    assert forge.pin(NOTIFICATION, "dev").tag == newer
    assert forge.pin(ANALYSIS, "dev").tag == older


def test_age_is_compared_by_ancestry_not_by_time(ada: Clone, bot: Clone, forge: Forge, monkeypatch):
    older = ada.head
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
    newer = ada.commit({"src/notification-service/main.py": "two"})
    ada.push()
    git(bot.directory, "fetch", "--quiet")
    pin_releases(bot, release(NOTIFICATION, older))
    pin_releases(bot, release(NOTIFICATION, newer))
    assert forge.pin(NOTIFICATION, "dev").tag == newer


def test_concurrent_bumps_lose_nothing(ada: Clone, forge: Forge):
    """Eight builds of four commits finish at the same time, each in its own process."""
    commits = [ada.commit({f"src/{NOTIFICATION}/main.py": str(count)}) for count in range(4)]
    ada.push()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src" / "gitops")}
    clones = [forge.clone() for _ in range(2)]
    failed: list[str] = []

    def bump_in_process(clone: Clone, commit: str, service: str) -> None:
        import subprocess

        result = subprocess.run(
            (sys.executable, "-m", "gitops", "-C", clone.directory, "bump", "--env", "dev",
             "--service", service, "--commit", commit, "--digest", digest(1), "--attempts", "50"),
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        if result.returncode:
            failed.append(result.stderr)

    # two processes share each clone and must not disturb each other
    threads = [
        threading.Thread(target=bump_in_process, args=(clones[number % 2], commit, service))
        for service in (NOTIFICATION, ANALYSIS)
        for number, commit in enumerate(commits)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert forge.pin(NOTIFICATION, "dev").tag == commits[-1]
    assert forge.pin(ANALYSIS, "dev").tag == commits[-1]
    assert git(forge.directory, "fsck", "--no-dangling") == ""


def test_push_that_loses_five_races_succeeds(bot: Clone, forge: Forge):
    forge.hook("pre-receive", CONCURRENT_PUSH.format(times=5))
    waited: list[int] = []
    bump.bump(
        bot.repository, [release(NOTIFICATION, bot.head)], environment="dev", branch="main", identity=BOT,
        wait=waited.append,
    )  # fmt: skip
    assert waited == [0, 1, 2, 3, 4]
    assert forge.pin(NOTIFICATION, "dev").tag == bot.head
    # and no other commit is lost
    assert [forge.show(f"docs/{count}.md") for count in range(5)] == ["0", "1", "2", "3", "4"]
    assert [line for line in forge.log() if "concurrent" in line] == [
        f"concurrent push {count}" for count in (4, 3, 2, 1, 0)
    ]


def test_push_that_loses_every_race_fails(bot: Clone, forge: Forge):
    forge.hook("pre-receive", CONCURRENT_PUSH.format(times=1000))
    with pytest.raises(RacesLostError, match="lost the race to push to main 3 times") as raised:
        pin_releases(bot, release(NOTIFICATION, bot.head), attempts=3)
    assert raised.value.attempts == 3
    assert not forge.pin(NOTIFICATION, "dev").released


def test_protected_branch_fails_without_retry(bot: Clone, forge: Forge):
    forge.hook("pre-receive", 'echo "Changes must be made through a pull request." >&2\nexit 1')
    waited: list[int] = []
    with pytest.raises(PushRefusedError) as raised:
        bump.bump(
            bot.repository, [release(NOTIFICATION, bot.head)], environment="dev", branch="main",
            identity=BOT, wait=waited.append,
        )  # fmt: skip
    assert waited == []
    assert "Changes must be made through a pull request." in str(raised.value)
    assert "Branch protection" in str(raised.value)


def test_concurrent_push_and_uncommitted_work_are_kept(ada: Clone, bot: Clone, forge: Forge):
    # given another change of the same folder and uncommitted work in the bot's clone
    neighbour = "apps/notification-service/envs/dev/kustomization.yaml"
    ada.commit({neighbour: "replicas: 2\n", "docs/a.md": "b"}, "more replicas")
    ada.push()
    (bot.directory / "README.md").write_text("not committed yet\n")
    before = git(bot.directory, "status", "--porcelain"), bot.head

    pin_releases(bot, release(NOTIFICATION, bot.head))

    assert forge.show(neighbour) == "replicas: 2"
    assert "more replicas" in forge.log()
    assert forge.pin(NOTIFICATION, "dev").released
    assert (git(bot.directory, "status", "--porcelain"), bot.head) == before
    assert git(bot.directory, "for-each-ref", "refs/gitops") == ""


def test_image_of_another_branch_is_not_deployed(ada: Clone, bot: Clone, forge: Forge):
    ada.commit({"src/x.py": "evil"})
    commit = ada.push("feature")
    git(bot.directory, "fetch", "--quiet")
    with pytest.raises(NotOnBranchError, match="is not on main"):
        pin_releases(bot, release(NOTIFICATION, commit))


def test_pin_of_an_unrelated_commit_is_not_changed(ada: Clone, bot: Clone, forge: Forge):
    # given that dev runs a commit that is not on main
    ada.commit({"src/x.py": "side branch"})
    side_commit = ada.push("feature")
    git(ada.directory, "reset", "--quiet", "--hard", "HEAD~1")
    ada.commit(
        {
            layout.release(NOTIFICATION, "dev"): pin.write(
                release(NOTIFICATION, side_commit).pin
            ).decode()
        }
    )
    commit = ada.push()
    git(bot.directory, "fetch", "--quiet")
    with pytest.raises(UnrelatedCommitsError, match="neither older nor newer"):
        pin_releases(bot, release(NOTIFICATION, commit))


def test_shallow_clone_is_refused(forge: Forge, ada: Clone):
    ada.commit({"a": "b"})
    ada.push()
    shallow = forge.clone("--depth=1")
    with pytest.raises(ShallowCloneError, match="fetch-depth: 0"):
        pin_releases(shallow, release(NOTIFICATION, shallow.head))


def test_duplicate_service_is_refused(bot: Clone):
    with pytest.raises(InvalidReleaseError, match="is given twice"):
        pin_releases(bot, release(NOTIFICATION, bot.head), release(NOTIFICATION, bot.head, 2))


def test_missing_branch_is_reported(bot: Clone):
    with pytest.raises(GitOpsError, match="has no branch nowhere"):
        bump.bump(
            bot.repository, [release(NOTIFICATION, bot.head)], environment="dev", branch="nowhere",
            identity=BOT,
        )  # fmt: skip


def test_command_with_records(bot: Clone, forge: Forge, tmp_path: Path):
    records = tmp_path / "records"
    for service in (NOTIFICATION, ANALYSIS):
        result = CliRunner().invoke(
            main,
            ["record", "--service", service, "--image", image(service), "--commit", bot.head,
             "--digest", digest(7), "--out", str(records)],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    command = ["-C", str(bot.directory), "bump", "--env", "dev", "--from", str(records)]
    result = CliRunner().invoke(main, command)
    short = bot.head[:12]
    assert result.output == (
        f" • {ANALYSIS}: {short} (was nothing)\n • {NOTIFICATION}: {short} (was nothing)\n"
        f"pushed {forge.head()[:12]} to main\n"
    )
    again = CliRunner().invoke(main, command)
    assert (
        again.output
        == f" • {ANALYSIS}: already runs {short}\n • {NOTIFICATION}: already runs {short}\nnothing to pin\n"
    )


def test_empty_folder_is_not_an_error(bot: Clone, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(
        main, ["-C", str(bot.directory), "bump", "--env", "dev", "--from", str(tmp_path / "empty")]
    )
    assert (result.exit_code, result.output) == (0, "nothing to pin\n")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not a record of a build"),
        ('{"service": "a"}', "not a record of a build"),
        ('{"service": "a", "image": "b/c", "commit": "d", "digest": "e"}', "'a' is not a service"),
        ('{"service": "notification-service", "image": "b/c", "commit": 1, "digest": "e"}', "not text"),
        ('{"service": "notification-service", "image": "b/c;rm", "commit": "d", "digest": "e"}', "not a valid image"),
        ('{"service": "notification-service", "image": "b/c", "commit": "d", "digest": "e"}', "not a valid commit"),
    ],
)  # fmt: skip
def test_invalid_record_is_refused(tmp_path: Path, content, reason):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InvalidReleaseError, match=reason):
        releases.read(tmp_path)


def test_command_with_one_service(bot: Clone, forge: Forge, ada: Clone):
    """The default image is the pinned one, and the default committer is the clone's user."""
    path = layout.release(NOTIFICATION, "dev")
    ada.commit(
        {path: (ada.directory / path).read_text().replace(f"/{origin.OWNER}/", "/somebody/")}
    )
    ada.push()
    result = CliRunner().invoke(
        main,
        ["-C", str(bot.directory), "bump", "--env", "dev", "--service", NOTIFICATION, "--commit", "HEAD",
         "--digest", digest(3)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert forge.pin(NOTIFICATION, "dev").image == f"docker.io/somebody/auditflow-{NOTIFICATION}"
    assert git(forge.directory, "log", "-1", "--format=%an", "main") == "Ada"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "is not in"),
        (b"", "not a Component"),
        ("other", "names the service 'audit-log-analysis'"),
    ],
)
def test_invalid_pin_is_never_overwritten(ada: Clone, bot: Clone, forge: Forge, content, reason):
    path = layout.release(NOTIFICATION, "dev")
    if content is None:
        git(ada.directory, "rm", "-q", path)
    elif content == "other":
        (ada.directory / path).write_text(
            (ada.directory / layout.release(ANALYSIS, "dev")).read_text()
        )
    else:
        (ada.directory / path).write_bytes(content)
    ada.commit({})
    ada.push()
    before = forge.head()
    with pytest.raises(InvalidPinError, match=reason):
        pin_releases(bot, release(NOTIFICATION, bot.head))
    assert forge.head() == before


def test_delay_between_attempts_grows_to_a_maximum(monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(random, "uniform", lambda _, longest: longest)
    for attempt in range(8):
        bump._wait(attempt)
    assert waited == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]


def test_unreachable_remote_is_not_a_lost_race(bot: Clone, forge: Forge):
    git(bot.directory, "remote", "set-url", "--push", "origin", str(forge.clones / "nowhere"))
    with pytest.raises(CommandError, match="git push to main failed"):
        pin_releases(bot, release(NOTIFICATION, bot.head))
