"""The cluster under test: the cluster of KUBECONFIG, or a new one that is removed at the end."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from . import (
    addons,
    builders,
    control_plane,
    dns,
    gitserver,
    netns,
    node,
    packages,
    paths,
    pki,
    reach,
    registry,
    shell,
    stand_ins,
    teardown,
    toolchain,
)
from .builders import Builder
from .errors import LabError
from .kube import Kube
from .paths import Run
from .processes import Processes
from .progress import info, step

#: Leave the cluster running after the tests, to examine a failure.
KEEP = "E2E_KEEP"
#: Reuse that cluster and its repository.
AGAIN = "E2E_AGAIN"


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    kube: Kube
    #: The kubectl program. The lab builds it at the cluster's version.
    kubectl_program: Path
    #: Whether the lab started it. Then this process is in its network namespace.
    created_here: bool
    #: Folders and processes of the lab.
    run: Run
    processes: Processes
    #: The folder whose bare repositories are served at :attr:`git_url`.
    git_root: Path
    #: The address of these repositories for pods.
    git_url: str
    #: The image builder, and the address of the registry for this machine.
    builder: Builder
    registry: str

    @property
    def host(self) -> str:
        """This machine's name or address for pods."""
        return urlsplit(self.git_url).hostname or ""

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.run.logs

    def kubectl(self, *words: str | Path, stdin: str | None = None) -> str:
        """Run kubectl as cluster-admin and return what it prints."""
        kubeconfig = f"--kubeconfig={self.kube.kubeconfig}"
        return shell.run(self.kubectl_program, kubeconfig, *words, stdin=stdin)

    def service(self, namespace: str, name: str, port: int) -> AbstractContextManager[str]:
        """Yield ``HOST:PORT`` of a Service."""
        return reach.service(
            self.kube,
            kubectl=self.kubectl_program,
            namespace=namespace,
            name=name,
            port=port,
            direct=self.created_here,
        )


def run_folders() -> Run:
    """Return the folders of the new cluster."""
    return Run(paths.cache() / "run")


def prepare() -> None:
    """Build the programs and images of a cluster. Needs the machine's network."""
    packages.install()
    toolchain.build()
    stand_ins.build()


@contextmanager
def given(kubeconfig: Path) -> Iterator[Cluster]:
    """Yield the cluster of a kubeconfig. It is not stopped afterwards.

    Pods must be able to reach this machine at ``E2E_GIT_HOST`` (k3d: ``host.k3d.internal``), and
    its nodes must query the registry ``E2E_REGISTRY`` before Docker Hub.
    """
    run = Run(paths.cache() / "given")
    run.make()
    processes = Processes(pids=run.pids, logs=run.logs)
    kube = Kube(kubeconfig)
    try:
        yield Cluster(
            kube=kube,
            kubectl_program=Path("kubectl"),
            created_here=False,
            run=run,
            processes=processes,
            git_root=run.root / "git",
            git_url=_serve_git(
                run,
                processes,
                "0.0.0.0",  # pods of the given cluster read it through the host
                os.environ.get("E2E_GIT_HOST", "host.k3d.internal"),
            ),
            builder=builders.published(),
            registry=os.environ.get(builders.REGISTRY, registry.ADDRESS),
        )
    finally:
        kube.close()
        processes.stop("git")


@contextmanager
def created() -> Iterator[Cluster]:
    """Yield a new cluster in its own network namespace. It is stopped at the end.

    Moves this thread to that namespace. :func:`prepare` must have run before.
    """
    run = run_folders()
    processes = Processes(pids=run.pids, logs=run.logs)
    with _exclusive(), _stopped_at_end(run, processes):
        with step("starting the cluster"):
            cluster = _start(run, processes)
        with closing(cluster.kube):
            yield cluster


@contextmanager
def kept() -> Iterator[Cluster]:
    """Yield the cluster that a run with ``E2E_KEEP`` left running. It keeps running."""
    run = run_folders()
    with _exclusive():
        netns.enter()
        with closing(Kube(run.admin)) as kube:
            processes = Processes(pids=run.pids, logs=run.logs)
            git = f"http://{netns.NODE_IP}:{gitserver.PORT}"
            yield _cluster(run, processes, kube, git)
            processes.keep_running()


def stop() -> None:
    """Stop the cluster of a run with ``E2E_KEEP`` or of a killed run."""
    run = run_folders()
    with _exclusive():
        teardown.down(run, Processes(pids=run.pids, logs=run.logs))


@contextmanager
def _exclusive() -> Iterator[None]:
    """Allow one run at a time, because addresses, names and folders belong to the machine."""
    paths.cache().mkdir(parents=True, exist_ok=True)
    with (paths.cache() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("another run uses the lab on this machine; wait for its end") from None
        yield


@contextmanager
def _stopped_at_end(run: Run, processes: Processes) -> Iterator[None]:
    teardown.down(run, processes)  # of a killed run
    run.make()
    try:
        yield
    finally:
        if os.environ.get(KEEP):
            processes.keep_running()
            enter = f"nsenter --net={netns.path()} {toolchain.binary('kubectl')}"
            info(f"the cluster keeps running: {enter} --kubeconfig={run.admin}")
        else:
            with step("stopping the cluster"):
                teardown.down(run, processes)


def _start(run: Run, processes: Processes) -> Cluster:
    netns.create()
    netns.enter()
    registry.start(run, processes)
    stand_ins.provide(stand_ins.PAUSE, node.PAUSE_IMAGE)
    pki.make(run)
    control_plane.start(run, processes)
    kube = Kube(run.admin)
    node.start(run, processes)
    dns.start(run, processes, kube)
    addons.start(run, processes, kube)
    git = _serve_git(run, processes, netns.NODE_IP, netns.NODE_IP)
    return _cluster(run, processes, kube, git)


def _cluster(run: Run, processes: Processes, kube: Kube, git_url: str) -> Cluster:
    return Cluster(
        kube=kube,
        kubectl_program=toolchain.binary("kubectl"),
        created_here=True,
        run=run,
        processes=processes,
        git_root=run.root / "git",
        git_url=git_url,
        builder=builders.StandAlone(),
        registry=registry.ADDRESS,
    )


def _serve_git(run: Run, processes: Processes, address: str, host: str) -> str:
    root = run.root / "git"
    root.mkdir(exist_ok=True)
    processes.start(
        *("git", sys.executable, "-m", "lab.gitserver", root, address, str(gitserver.PORT)),
    )
    return f"http://{host}:{gitserver.PORT}"
