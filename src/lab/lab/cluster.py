"""One cluster to test on: the one that KUBECONFIG names, or one that is made here and ended."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

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
from .progress import say, step

#: Leave the cluster running after the tests, to look at what failed.
KEEP = "E2E_KEEP"
#: Go on with that cluster, and with the repository that it follows.
AGAIN = "E2E_AGAIN"


@dataclass(frozen=True)
class Cluster:
    """A running cluster, and how to work with it."""

    kube: Kube
    #: The kubectl to run; the lab's is of the cluster's version.
    kubectl_program: Path
    #: Whether it was made here, with this process in its network.
    made_here: bool
    #: Its folders and processes, where they are ours.
    run: Run
    processes: Processes
    #: The folder whose bare repositories are served at :attr:`git_url`.
    git_root: Path
    #: Where pods find those repositories.
    git_url: str
    #: What built the images that it runs, and the registry to copy them to, as we reach it.
    builder: Builder
    registry: str

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.run.logs

    def kubectl(self, *words: str | Path, stdin: str | None = None) -> str:
        """Run kubectl as cluster-admin and return what it prints."""
        kubeconfig = f"--kubeconfig={self.kube.kubeconfig}"
        return shell.run(self.kubectl_program, kubeconfig, *words, stdin=stdin)

    def service(self, namespace: str, name: str, port: int) -> AbstractContextManager[str]:
        """``HOST:PORT`` of a Service, for as long as the block runs."""
        return reach.service(
            self.kube,
            kubectl=self.kubectl_program,
            namespace=namespace,
            name=name,
            port=port,
            direct=self.made_here,
        )


def run_folders() -> Run:
    """The folders of the cluster that is made here."""
    return Run(paths.cache() / "run")


def prepare() -> None:
    """Make what a cluster needs, with the machine's network: programs and images."""
    packages.install()
    toolchain.build()
    stand_ins.build()


@contextmanager
def given(kubeconfig: Path) -> Iterator[Cluster]:
    """The cluster that a kubeconfig names; nothing of it is ended afterwards.

    Pods must be able to reach this machine at ``E2E_GIT_HOST`` (k3d: ``host.k3d.internal``), and
    its nodes must ask the registry that is ``E2E_REGISTRY`` here before Docker Hub.
    """
    run = Run(paths.cache() / "given")
    run.make()
    processes = Processes(pids=run.pids, logs=run.logs)
    kube = Kube(kubeconfig)
    try:
        yield Cluster(
            kube=kube,
            kubectl_program=Path("kubectl"),
            made_here=False,
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
def made() -> Iterator[Cluster]:
    """A cluster on this machine, in a network namespace of its own, ended at the end.

    From here on this thread is in that namespace: :func:`prepare` must have run.
    """
    run = run_folders()
    processes = Processes(pids=run.pids, logs=run.logs)
    with _alone(), _ended(run, processes):
        with step("starting the cluster"):
            cluster = _start(run, processes)
        with closing(cluster.kube):
            yield cluster


@contextmanager
def kept() -> Iterator[Cluster]:
    """The cluster that a run left on purpose, to try a step again; it is left once more."""
    run = run_folders()
    with _alone():
        netns.enter()
        with closing(Kube(run.admin)) as kube:
            processes = Processes(pids=run.pids, logs=run.logs)
            git = f"http://{netns.NODE_IP}:{gitserver.PORT}"
            yield _cluster(run, processes, kube, git)
            processes.leave()


def end() -> None:
    """End the cluster that a run left on purpose, or because it was killed."""
    run = run_folders()
    with _alone():
        teardown.down(run, Processes(pids=run.pids, logs=run.logs))


@contextmanager
def _alone() -> Iterator[None]:
    """One at a time: addresses, names and folders are the machine's."""
    paths.cache().mkdir(parents=True, exist_ok=True)
    with (paths.cache() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("another run uses the lab on this machine; wait for its end") from None
        yield


@contextmanager
def _ended(run: Run, processes: Processes) -> Iterator[None]:
    teardown.down(run, processes)  # what a killed run left
    run.make()
    try:
        yield
    finally:
        if os.environ.get(KEEP):
            processes.leave()
            enter = f"nsenter --net={netns.path()} {toolchain.binary('kubectl')}"
            say(f"the cluster still runs: {enter} --kubeconfig={run.admin}")
        else:
            with step("ending the cluster"):
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
        made_here=True,
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
