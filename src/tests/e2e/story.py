"""The shared state of the steps: one cluster and one repository. The steps run in order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab import argocd, bootstrap, builders, preview, progress, prometheus, releases, report
from lab import cluster as clusters
from lab import forge as forges
from lab.background import BackgroundTask
from lab.bad_version import Rollback, deploy_and_roll_back
from lab.bootstrap import Delivery
from lab.canary import Canaries
from lab.cluster import Cluster
from lab.environment import Environment
from lab.forge import Forge
from lab.kube import Kube
from lab.preview import Preview
from lab.repository import Repository

#: Also test what has a fake forge, and the commands of two pages.
ALL = "E2E_ALL"
_CLUSTER = pytest.StashKey[Cluster]()
_TIMES = pytest.StashKey[dict[str, float]]()


def pytest_configure() -> None:
    """End the cluster also when CI cancels the run, or when it runs in the background."""
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The cluster of KUBECONFIG, else one that is made here."""
    kubeconfig = os.environ.get("KUBECONFIG")
    if kubeconfig:
        with closing(Kube(Path(kubeconfig))) as kube:
            _refuse_one_in_use(kube)
        releases.build(builders.published())
        running = clusters.given(Path(kubeconfig))
    elif os.environ.get(clusters.AGAIN):
        running = clusters.kept()
    else:
        clusters.prepare()
        releases.build(builders.StandAlone())
        running = clusters.created()
    with running as item:
        pytestconfig.stash[_CLUSTER] = item
        yield item
        del pytestconfig.stash[_CLUSTER]


@pytest.fixture(scope="session")
def forge(cluster: Cluster) -> Iterator[Forge | None]:
    """A fake of the forge, which Argo CD and the promoter call. None without ``E2E_ALL``."""
    if not os.environ.get(ALL):
        yield None
        return
    fake = Forge()
    with forges.serving(fake, cluster.host if cluster.created_here else "0.0.0.0"):
        yield fake


@pytest.fixture(scope="session")
def delivery(cluster: Cluster, forge: Forge | None) -> Delivery:
    """The repository, served; nothing of it has been applied."""
    published = releases.publish(cluster.builder, cluster.registry)
    if os.environ.get(clusters.AGAIN):
        repository = Repository(cluster.git_root)
        marked = releases.at_commits(repository, published)
        return Delivery(cluster, repository, marked, forge=forge)
    return bootstrap.seed(cluster, published, forge=forge)


@pytest.fixture(scope="session")
def all_steps() -> None:
    """Skip a test without ``E2E_ALL``."""
    if not os.environ.get(ALL):
        pytest.skip(f"only with {ALL}=1 (make e2e ALL=1)")


@pytest.fixture(scope="session")
def dev(cluster: Cluster) -> Environment:
    """The environment that follows main by itself."""
    return Environment(cluster, "dev")


@pytest.fixture(scope="session")
def staging(cluster: Cluster) -> Environment:
    """The environment that gets what was promoted, by itself."""
    return Environment(cluster, "staging")


@pytest.fixture(scope="session")
def prod(cluster: Cluster) -> Environment:
    """The environment that a person syncs."""
    return Environment(cluster, "prod")


@pytest.fixture(scope="session")
def measured(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> BackgroundTask[None]:
    """A Prometheus in the cluster, which is brought up beside the steps."""
    folder = tmp_path_factory.mktemp("prometheus")
    return BackgroundTask(lambda: prometheus.install(cluster, folder))


@pytest.fixture(scope="session")
def canaries(delivery: Delivery, dev: Environment, measured: BackgroundTask[None]) -> Canaries:
    """Two canaries in dev, which go on beside the steps from the first that asks for them."""
    return Canaries(delivery, dev, measured)


@pytest.fixture(scope="session")
def bad_version(delivery: Delivery, prod: Environment) -> BackgroundTask[Rollback]:
    """A bad version in prod, which goes on beside the steps likewise."""
    aside = delivery.with_own_clone("bad-version")
    return BackgroundTask(lambda: deploy_and_roll_back(aside, prod))


@pytest.fixture(scope="session")
def opened_preview(delivery: Delivery, forge: Forge | None) -> BackgroundTask[Preview] | None:
    """The preview of a pull request, which goes on beside the steps likewise."""
    if forge is None:
        return None
    aside = delivery.with_own_clone("preview")
    return BackgroundTask(lambda: preview.open_and_close(aside, forge))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Print each step's time as it ends."""
    start = time.monotonic()
    item.config.stash.setdefault(_TIMES, {})
    try:
        return (yield)
    finally:
        elapsed = time.monotonic() - start
        item.config.stash[_TIMES][item.name] = elapsed
        progress.info(f"{item.name}: {elapsed:.1f} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Keep what explains a failure, while the cluster still runs."""
    outcome = yield
    running = item.config.stash.get(_CLUSTER, None)
    # The test of upgrades has a fixture "cluster" of its own.
    fixtures = item.funcargs.values() if isinstance(item, pytest.Function) else ()
    for value in fixtures:
        if running is None and isinstance(value, Delivery):
            running = value.cluster
    failed = call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception)
    if failed and running is not None and call.when != "teardown":
        report.collect(running, item.name)
    return outcome


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The duration of each step, and of the work of the lab within the steps."""
    times = terminalreporter.config.stash.get(_TIMES, {})
    for title, entries in (
        ("time of each step", times.items()),
        ("parts of these times: images and the cluster", progress.durations),
    ):
        terminalreporter.section(title)
        for name, seconds in entries:
            terminalreporter.write_line(f"{seconds:7.1f} s  {name}")


def _refuse_one_in_use(kube: Kube) -> None:
    if kube.find(f"/api/v1/namespaces/{argocd.NAMESPACE}") is not None:
        pytest.exit(
            "the cluster of KUBECONFIG has an Argo CD already: this test takes over a cluster,"
            " breaks things and deletes namespaces, so it wants an empty one",
            returncode=2,
        )
