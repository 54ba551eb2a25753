"""Pins that move on main, whoever else pushes there."""

import os
import random
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitops import bump, layout, pin, releases
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

ONE, TWO = "notification-service", "audit-log-analysis"
#: Pushes a change of somebody else into the forge, while another push is on its way.
PUSH_IN_BETWEEN = """
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
commit=$(git commit-tree "$(git write-tree)" -p "$tip" -m "somebody was faster $count")
git update-ref refs/heads/main "$commit" "$tip"
"""


def pinned(clone: Clone, *wanted, **options) -> Bumped:
    return bump.bump(
        clone.repository, wanted, environment="dev", branch="main", identity=BOT,
        wait=lambda _: None, **options,
    )  # fmt: skip


def test_a_bump_pins_all_that_was_built_in_one_commit(ada: Clone, bot: Clone, forge: Forge):
    commit = ada.commit({"src/auditflow/event.py": "..."})
    ada.push()
    git(bot.directory, "fetch", "--quiet")

    done = pinned(bot, *(release(service, commit) for service in layout.SERVICES))

    assert forge.log()[0].startswith("dev: run audit-event-generator, audit-log-analysis")
    assert git(forge.directory, "rev-list", "--count", f"{commit}..main") == "1"
    assert done.commit == forge.head()
    for service in layout.SERVICES:
        assert forge.pin(service, "dev") == release(service, commit).pin
        assert not forge.pin(service, "staging").released
    # and it touched nothing but pins
    touched = git(forge.directory, "diff", "--name-only", "main~1", "main").splitlines()
    assert set(touched) == {layout.release(service, "dev") for service in layout.SERVICES}
    assert (
        git(forge.directory, "log", "-1", "--format=%an <%ae>", "main") == "bot <bot@example.org>"
    )


def test_a_bump_that_arrives_twice_changes_nothing(bot: Clone, forge: Forge):
    first = pinned(bot, release(ONE, bot.head))
    after = forge.head()
    again = pinned(bot, release(ONE, bot.head))
    assert (first.outcomes[0].order, again.outcomes[0].order) == (Order.NEWER, Order.SAME)
    assert again.commit is None
    assert forge.head() == after


def test_a_commit_that_was_built_again_is_pinned_again(bot: Clone, forge: Forge):
    pinned(bot, release(ONE, bot.head, 1))
    pinned(bot, release(ONE, bot.head, 2))
    assert forge.pin(ONE, "dev").digest == digest(2)


def test_a_pin_never_moves_back(ada: Clone, bot: Clone, forge: Forge):
    # given two commits, of which the later was built faster
    older = ada.head
    newer = ada.commit({"src/notification-service/main.py": "two"})
    ada.push()
    git(bot.directory, "fetch", "--quiet")
    pinned(bot, release(ONE, newer, 2))
    after = forge.head()

    # when the older one arrives
    done = pinned(bot, release(ONE, older, 1))

    # then it is left behind, and that is no failure
    assert done.outcomes[0].order is Order.OLDER
    assert forge.head() == after
    # and what comes with it is pinned all the same
    pinned(bot, release(ONE, older, 1), release(TWO, older, 1))
    assert forge.pin(ONE, "dev").tag == newer
    assert forge.pin(TWO, "dev").tag == older


def test_what_is_older_is_told_by_ancestry_and_not_by_time(
    ada: Clone, bot: Clone, forge: Forge, monkeypatch
):
    older = ada.head
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
    newer = ada.commit({"src/notification-service/main.py": "two"})
    ada.push()
    git(bot.directory, "fetch", "--quiet")
    pinned(bot, release(ONE, older))
    pinned(bot, release(ONE, newer))
    assert forge.pin(ONE, "dev").tag == newer


def test_two_bumps_at_once_lose_nothing(ada: Clone, forge: Forge):
    """Eight builds of four commits finish at the same time, each in a process of its own."""
    commits = [ada.commit({f"src/{ONE}/main.py": str(count)}) for count in range(4)]
    ada.push()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src" / "gitops")}
    clones = [forge.clone() for _ in range(2)]
    failed: list[str] = []

    def one(clone: Clone, commit: str, service: str) -> None:
        import subprocess

        done = subprocess.run(
            (sys.executable, "-m", "gitops", "-C", clone.directory, "bump", "--env", "dev",
             "--service", service, "--commit", commit, "--digest", digest(1), "--attempts", "50"),
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        if done.returncode:
            failed.append(done.stderr)

    # two processes to a clone: they must not be in each other's way there either
    threads = [
        threading.Thread(target=one, args=(clones[number % 2], commit, service))
        for service in (ONE, TWO)
        for number, commit in enumerate(commits)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert forge.pin(ONE, "dev").tag == commits[-1]
    assert forge.pin(TWO, "dev").tag == commits[-1]
    assert git(forge.directory, "fsck", "--no-dangling") == ""


def test_a_push_that_loses_the_race_five_times_gets_there(bot: Clone, forge: Forge):
    forge.hook("pre-receive", PUSH_IN_BETWEEN.format(times=5))
    waited: list[int] = []
    bump.bump(
        bot.repository, [release(ONE, bot.head)], environment="dev", branch="main", identity=BOT,
        wait=waited.append,
    )  # fmt: skip
    assert waited == [0, 1, 2, 3, 4]
    assert forge.pin(ONE, "dev").tag == bot.head
    # and nobody's change is lost
    assert [forge.show(f"docs/{count}.md") for count in range(5)] == ["0", "1", "2", "3", "4"]
    assert [line for line in forge.log() if "faster" in line] == [
        f"somebody was faster {count}" for count in (4, 3, 2, 1, 0)
    ]


def test_a_race_that_is_lost_each_time_fails_loudly(bot: Clone, forge: Forge):
    forge.hook("pre-receive", PUSH_IN_BETWEEN.format(times=1000))
    with pytest.raises(RacesLostError, match="lost the race to push to main 3 times") as raised:
        pinned(bot, release(ONE, bot.head), attempts=3)
    assert raised.value.attempts == 3
    assert not forge.pin(ONE, "dev").released


def test_a_branch_that_is_protected_fails_at_once(bot: Clone, forge: Forge):
    forge.hook("pre-receive", 'echo "Changes must be made through a pull request." >&2\nexit 1')
    waited: list[int] = []
    with pytest.raises(PushRefusedError) as raised:
        bump.bump(
            bot.repository, [release(ONE, bot.head)], environment="dev", branch="main",
            identity=BOT, wait=waited.append,
        )  # fmt: skip
    assert waited == []
    assert "Changes must be made through a pull request." in str(raised.value)
    assert "Branch protection" in str(raised.value)


def test_a_person_who_pushes_meanwhile_loses_nothing(ada: Clone, bot: Clone, forge: Forge):
    # given somebody's change of the same folder, and unsaved work in the bot's clone
    neighbour = "apps/notification-service/envs/dev/kustomization.yaml"
    ada.commit({neighbour: "replicas: 2\n", "docs/a.md": "b"}, "more replicas")
    ada.push()
    (bot.directory / "README.md").write_text("not committed yet\n")
    before = git(bot.directory, "status", "--porcelain"), bot.head

    pinned(bot, release(ONE, bot.head))

    assert forge.show(neighbour) == "replicas: 2"
    assert "more replicas" in forge.log()
    assert forge.pin(ONE, "dev").released
    assert (git(bot.directory, "status", "--porcelain"), bot.head) == before
    assert git(bot.directory, "for-each-ref", "refs/gitops") == ""


def test_an_image_of_a_branch_is_not_deployed(ada: Clone, bot: Clone, forge: Forge):
    ada.commit({"src/x.py": "evil"})
    commit = ada.push("feature")
    git(bot.directory, "fetch", "--quiet")
    with pytest.raises(NotOnBranchError, match="is not on main"):
        pinned(bot, release(ONE, commit))


def test_a_pin_of_another_history_is_left_to_a_person(ada: Clone, bot: Clone, forge: Forge):
    # given that dev runs a commit which main does not have
    ada.commit({"src/x.py": "aside"})
    aside = ada.push("feature")
    git(ada.directory, "reset", "--quiet", "--hard", "HEAD~1")
    ada.commit({layout.release(ONE, "dev"): pin.write(release(ONE, aside).pin).decode()})
    commit = ada.push()
    git(bot.directory, "fetch", "--quiet")
    with pytest.raises(UnrelatedCommitsError, match="neither older nor newer"):
        pinned(bot, release(ONE, commit))


def test_a_shallow_clone_cannot_tell_and_says_so(forge: Forge, ada: Clone):
    ada.commit({"a": "b"})
    ada.push()
    shallow = forge.clone("--depth=1")
    with pytest.raises(ShallowCloneError, match="fetch-depth: 0"):
        pinned(shallow, release(ONE, shallow.head))


def test_each_service_once(bot: Clone):
    with pytest.raises(InvalidReleaseError, match="given twice"):
        pinned(bot, release(ONE, bot.head), release(ONE, bot.head, 2))


def test_a_branch_that_is_not_there(bot: Clone):
    with pytest.raises(GitOpsError, match="has no branch nowhere"):
        bump.bump(
            bot.repository, [release(ONE, bot.head)], environment="dev", branch="nowhere",
            identity=BOT,
        )  # fmt: skip


def test_from_records_on_the_command_line(bot: Clone, forge: Forge, tmp_path: Path):
    records = tmp_path / "records"
    for service in (ONE, TWO):
        done = CliRunner().invoke(
            main,
            ["record", "--service", service, "--image", image(service), "--commit", bot.head,
             "--digest", digest(7), "--out", str(records)],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
    command = ["-C", str(bot.directory), "bump", "--env", "dev", "--from", str(records)]
    done = CliRunner().invoke(main, command)
    short = bot.head[:12]
    assert done.output == (
        f" • {TWO}: {short} (was nothing)\n • {ONE}: {short} (was nothing)\n"
        f"pushed {forge.head()[:12]} to main\n"
    )
    again = CliRunner().invoke(main, command)
    assert (
        again.output
        == f" • {TWO}: runs {short} already\n • {ONE}: runs {short} already\nnothing to pin\n"
    )


def test_no_records_are_no_failure(bot: Clone, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(
        main, ["-C", str(bot.directory), "bump", "--env", "dev", "--from", str(tmp_path / "empty")]
    )
    assert (done.exit_code, done.output) == (0, "nothing to pin\n")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "no record of a build"),
        ('{"service": "a"}', "no record of a build"),
        ('{"service": "a", "image": "b/c", "commit": "d", "digest": "e"}', "'a' is no service"),
        ('{"service": "notification-service", "image": "b/c", "commit": 1, "digest": "e"}', "not text"),
        ('{"service": "notification-service", "image": "b/c;rm", "commit": "d", "digest": "e"}', "no image"),
        ('{"service": "notification-service", "image": "b/c", "commit": "d", "digest": "e"}', "no commit"),
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_refused(tmp_path: Path, content, why):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InvalidReleaseError, match=why):
        releases.read(tmp_path)


def test_one_service_on_the_command_line_under_its_own_name(bot: Clone, forge: Forge, ada: Clone):
    """The image is the one that is pinned, and who works in the clone signs."""
    path = layout.release(ONE, "dev")
    ada.commit({path: (ada.directory / path).read_text().replace("jojees", "somebody")})
    ada.push()
    done = CliRunner().invoke(
        main,
        ["-C", str(bot.directory), "bump", "--env", "dev", "--service", ONE, "--commit", "HEAD",
         "--digest", digest(3)],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert forge.pin(ONE, "dev").image == f"docker.io/somebody/auditflow-{ONE}"
    assert git(forge.directory, "log", "-1", "--format=%an", "main") == "Ada"


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "is not in"), (b"", "not a Component"), ("other", "is about 'audit-log-analysis'")],
)
def test_a_pin_that_was_spoilt_is_never_written_over(
    ada: Clone, bot: Clone, forge: Forge, content, why
):
    path = layout.release(ONE, "dev")
    if content is None:
        git(ada.directory, "rm", "-q", path)
    elif content == "other":
        (ada.directory / path).write_text((ada.directory / layout.release(TWO, "dev")).read_text())
    else:
        (ada.directory / path).write_bytes(content)
    ada.commit({})
    ada.push()
    before = forge.head()
    with pytest.raises(InvalidPinError, match=why):
        pinned(bot, release(ONE, bot.head))
    assert forge.head() == before


def test_racers_wait_longer_and_longer(monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(random, "uniform", lambda _, longest: longest)
    for attempt in range(8):
        bump._wait(attempt)
    assert waited == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]


def test_a_remote_that_is_away_is_an_error_and_no_race(bot: Clone, forge: Forge):
    git(bot.directory, "remote", "set-url", "--push", "origin", str(forge.clones / "nowhere"))
    with pytest.raises(CommandError, match="git push to main failed"):
        pinned(bot, release(ONE, bot.head))
