"""Three instances of Redis with Sentinels, by the files of apps/data/redis/ha, on loopback.

Each instance has an address of its own, like a pod. Only addresses, ports and folders are replaced.
"""

import os
import random
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from auditflow_local import ports
from auditflow_local.processes import Child, Command, environment
from provisioning.plan import plan

FILES = Path(__file__).parents[2] / "apps/data/redis/ha"
SERVICE = "auditflow"


class Pod:
    """One Redis and its Sentinel, with a volume."""

    def __init__(self, folder: Path, address: str, port: int, sentinel_port: int) -> None:
        self.folder = folder
        self.host = address
        self.port = port
        self.sentinel_port = sentinel_port
        self.redis, self.sentinel = (
            Child(name, log=folder / f"{name}.log", record=folder / f"{name}.process")
            for name in ("redis", "sentinel")
        )

    def mount(self, secrets: dict[str, dict[str, str]]) -> None:
        """Write the files that Kubernetes mounts into the pod."""
        for name in ("data", "etc", "secrets", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("redis-ha", "redis-replication"):
            for key, value in secrets[name].items():
                (self.folder / "secrets" / key).write_text(value)
        for file in FILES.iterdir():
            if file.suffix in (".conf", ".sh"):
                (self.folder / "etc" / file.name).write_text(self._here(file.read_text()))

    def _here(self, text: str) -> str:
        here = {
            "26379": str(self.sentinel_port),
            "6379": str(self.port),
            "127.0.0.1": self.host,
            "/run/secrets/redis": str(self.folder / "secrets"),
            "/etc/redis": str(self.folder / "etc"),
            "/data": str(self.folder / "data"),
            "dir /tmp": f"dir {self.folder / 'tmp'}",
            "protected-mode no": f"protected-mode no\nbind {self.host}",
        }
        return re.sub("|".join(map(re.escape, here)), lambda found: here[found[0]], text)

    def start(self, peers: str) -> None:
        for child in (self.redis, self.sentinel):
            child.spawn(
                Command(
                    argv=("sh", str(self.folder / "etc" / f"{child.name}.sh")),
                    env=environment(ME=self.host, PEERS=peers),
                    folder=self.folder,
                )
            )

    def kill(self) -> None:
        for child in (self.redis, self.sentinel):
            child.kill()


class RedisHa:
    """The cluster as a service and a test use it. The address is that of the first node."""

    user = "audit-log-analysis"
    tls = None

    def __init__(self, folder: Path) -> None:
        self.secrets = plan({})
        self.password = self.secrets["audit-log-analysis"]["REDIS_PASSWORD"]
        net = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        self.port, sentinel_port = ports.pick(), ports.pick()
        self.pods = [
            Pod(folder / f"pod-{n}", f"{net}.{n + 1}", self.port, sentinel_port) for n in range(3)
        ]
        self.host = self.pods[0].host
        self.peers = " ".join(pod.host for pod in self.pods)
        self.sentinels = ",".join(f"{pod.host}:{sentinel_port}" for pod in self.pods)

    def password_of(self, user: str) -> str:
        """The password of the user of a service."""
        return self.secrets[user]["REDIS_PASSWORD"]

    def start(self) -> None:
        for pod in self.pods:
            pod.mount(self.secrets)
            pod.start(self.peers)

    def kill(self) -> None:
        for pod in self.pods:
            pod.kill()

    @contextmanager
    def admin(self, pod: Pod, *, sentinel: bool = False) -> Iterator["redis.Redis"]:
        """A session that may do everything."""
        with redis.Redis(
            host=pod.host, port=pod.sentinel_port if sentinel else pod.port,
            username="auditflow-admin",
            password=self.secrets["redis-people"]["auditflow-admin"],
            socket_timeout=2, retry=Retry(NoBackoff(), 0), decode_responses=True,
        ) as client:  # fmt: skip
            yield client

    def roles(self) -> list[str]:
        """The role of each node: "master", "replica" (connected to its master), or another text."""
        found = []
        for pod in self.pods:
            try:
                with self.admin(pod) as client:
                    replication = client.info("replication")
            except redis.RedisError as error:
                found.append(type(error).__name__)
                continue
            up = replication.get("master_link_status") == "up"
            found.append(
                "master" if replication["role"] == "master" else "replica" if up else "apart"
            )
        return found

    def is_complete(self) -> bool:
        """Whether one is the master, two follow it, and all Sentinels know each other and it."""
        if sorted(self.roles()) != ["master", "replica", "replica"]:
            return False
        master = self.master()
        for pod in self.pods:
            try:
                with self.admin(pod, sentinel=True) as client:
                    state = cast("dict[str, Any]", client.sentinel_master(SERVICE))
            except redis.RedisError:
                return False
            known = (state["ip"], state["num-other-sentinels"], state["num-slaves"])
            if known != (master.host, 2, 2) or state["is_sdown"]:
                return False
        return True

    def master(self) -> Pod:
        return self.pods[self.roles().index("master")]

    def pause(self, pod: Pod) -> None:
        """Let a Redis hang."""
        self._signal(pod, signal.SIGSTOP)

    def resume(self, pod: Pod) -> None:
        self._signal(pod, signal.SIGCONT)

    def _signal(self, pod: Pod, number: signal.Signals) -> None:
        assert pod.redis.pid
        os.kill(pod.redis.pid, number)


@contextmanager
def running(folder: Path) -> Iterator[RedisHa]:
    redis_ha = RedisHa(folder)
    with ExitStack() as ends:
        ends.callback(redis_ha.kill)
        redis_ha.start()
        yield redis_ha
