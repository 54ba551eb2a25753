"""Redis with Sentinel (apps/data/redis/ha): the alerts are the same after failovers."""

import os
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from audit_analysis.windows import Observation, WindowSpec
from audit_analysis.windows.redis_client import connect
from audit_analysis.windows.redis_windows import RedisWindows
from audit_analysis.windows.request import shard
from auditflow.errors import Unavailable
from auditflow.settings import RedisSettings
from auditflow_local import packages
from auditflow_local.polling import eventually

from .events import alert_keys, alerts_of, attack_events, shuffled
from .platform import Platform
from .redis_ha import FILES, RedisHa, running

pytestmark = pytest.mark.soak

USERS = 60
SPEC = WindowSpec(threshold=3, timespan=60_000, dedup=300_000, lateness=900_000)
NOON = 1_800_000_000_000


@pytest.fixture(scope="module")
def redis_ha(servers_folder: Path) -> Iterator[RedisHa]:
    packages.ensure(packages.SERVERS)
    with running(servers_folder / "redis-ha") as item:
        yield item


@pytest.fixture
def redis_set(redis_ha: RedisHa) -> RedisHa:
    """All three, in order."""
    for pod in redis_ha.pods:
        if not pod.redis.running:
            pod.start(redis_ha.peers)
    eventually(redis_ha.is_complete, what="one master with two replicas, known to three Sentinels")
    return redis_ha


def client_of(redis_ha: RedisHa) -> redis.Redis:
    return connect(
        RedisSettings(
            redis_user=redis_ha.user,
            redis_password=SecretStr(redis_ha.password),
            redis_sentinels=redis_ha.sentinels,
        )
    )


def test_the_master_is_killed_during_an_attack(
    platform: Platform, service_process: Any, redis_set: RedisHa
) -> None:
    # Given an analysis that keeps its windows there, few events at a time
    platform.analysis.stop()
    analysis = service_process(
        "audit-log-analysis",
        rabbitmq=platform.rabbitmq,
        redis=redis_set,
        env={"REDIS_SENTINELS": redis_set.sentinels, "REDIS_REPLICAS": "1", "PREFETCH": "8"},
    )
    sender = threading.Thread(
        target=platform.send, args=(shuffled(attack_events(USERS), 3),), kwargs={"chunk": 5}
    )
    sender.start()
    done = "auditflow_consumed_messages_total"
    eventually(lambda: platform.metric(analysis, done) > 0, what="the first event")
    # when the master and its Sentinel are killed, and their node does not return
    first = redis_set.master()
    first.kill()
    sender.join()
    # then another takes over, and the alerts are those of a day without trouble
    expected = alerts_of(USERS)
    eventually(lambda: expected <= alert_keys(platform.alerts()), what="every alert")
    eventually(platform.settled, what="rest")
    assert alert_keys(platform.alerts()) == expected
    assert redis_set.master() is not first
    # and when it is back, it follows
    first.start(redis_set.peers)
    eventually(redis_set.is_complete, what="three again")
    assert redis_set.master() is not first


def test_all_nodes_restart_with_the_same_master_and_every_window(redis_set: RedisHa) -> None:
    key = str(uuid.uuid4())
    master = redis_set.master()
    with client_of(redis_set) as client:
        windows = RedisWindows(client, replicas=1)

        def see(name: str, second: int) -> int:
            observation = Observation(SPEC, key, name, NOON + second * 1000, b"raw")
            return len(windows.observe([observation])[0].summaries)

        assert see("one", 1) == see("two", 2) == 0
        redis_set.kill()
        for pod in redis_set.pods:
            pod.start(redis_set.peers)
        eventually(redis_set.is_complete, what="all again")
        assert redis_set.master() is master
        assert see("three", 3) == 1


def test_a_batch_waits_for_a_replica_also_when_it_is_redelivered(
    redis_set: RedisHa,
) -> None:
    # Given replicas that hang
    master = redis_set.master()
    others = [pod for pod in redis_set.pods if pod is not master]
    batch = [Observation(SPEC, str(uuid.uuid4()), "one", NOON, b"raw")]
    for pod in others:
        redis_set.pause(pod)
    try:
        # then it is refused, and again over a new connection, though it writes nothing new then
        for _ in range(2):
            with (
                client_of(redis_set) as client,
                pytest.raises(Unavailable, match="0 of 1 replicas"),
            ):
                RedisWindows(client, replicas=1).observe(batch)
    finally:
        for pod in others:
            redis_set.resume(pod)
    # and taken when they are well
    with client_of(redis_set) as client:
        windows = RedisWindows(client, replicas=1)
        eventually(lambda: taken(windows, batch), what="the batch")


def taken(windows: RedisWindows, batch: list[Observation]) -> bool:
    try:
        windows.observe(batch)
    except Unavailable:
        return False
    return True


def test_windows_move_from_the_single_redis_and_back(redis_set: RedisHa, make_redis: Any,
                                                     tmp_path: Path) -> None:  # fmt: skip
    # Given two of three events in a single Redis, whose administrator has the same password
    single = make_redis(tmp_path)
    password = redis_set.secrets["redis-people"]["auditflow-admin"]
    with redis.Redis.from_url(single.admin_url) as admin:
        admin.acl_setuser("auditflow-admin", enabled=True, passwords=[f"+{password}"])
    key = str(uuid.uuid4())

    def see(windows: RedisWindows, name: str, second: int) -> int:
        observation = Observation(SPEC, key, name, NOON + second * 1000, b"raw")
        return len(windows.observe([observation])[0].summaries)

    def copy(source: Any, target: Any) -> str:
        done = subprocess.run(
            ("sh", str(FILES / "copy.sh"), source.host, str(source.port),
             target.host, str(target.port)),
            env=os.environ | {"REDISCLI_AUTH": password}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with redis.Redis.from_url(single.url) as client, client_of(redis_set) as of_three:
        old_windows, new_windows = RedisWindows(client), RedisWindows(of_three, replicas=1)
        assert see(old_windows, "one", 1) == see(old_windows, "two", 2) == 0
        # when they are copied, then the third completes the window there
        copy(single, redis_set.master())
        assert see(new_windows, "three", 3) == 1
        shard_key = f"w:{SPEC.pool}:{{{shard(key)}}}"
        assert of_three.ttl(shard_key) > 0
        # and a fourth event is counted after they are copied back
        copy(redis_set.master(), single)
        with redis.Redis.from_url(single.url) as back:
            assert back.hget(shard_key, key)[8:10] == b"03"  # the number of events
        assert see(old_windows, "four", 4) == 1


def test_a_node_that_lost_its_volume_becomes_a_replica(redis_set: RedisHa) -> None:
    # Given a master whose volume is lost, and which is back before anybody noticed
    master = redis_set.master()
    with redis_set.admin(master) as client:
        client.set("kept", "yes")
        assert client.wait(2, 5000) == 2
    master.kill()
    for file in sorted((master.folder / "data").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    master.start(redis_set.peers)
    # then it waits until another is the master, and gets everything from that
    eventually(redis_set.is_complete, what="three again")
    assert redis_set.master() is not master
    with redis_set.admin(master) as client:
        assert client.get("kept") == "yes"
