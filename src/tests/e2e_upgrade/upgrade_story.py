"""The fixtures of the test of upgrades: a cluster, and prod with the last release."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import bootstrap, builders, last_release, paths, releases
from lab import cluster as clusters
from lab.bootstrap import Delivery
from lab.cluster import Cluster
from lab.progress import info
from lab.releases import UPGRADE, Version
from lab.repository import Repository

#: A cluster of prod alone, so that the test is small.
_ROOT = Path("clusters/cluster-prod")


@pytest.fixture(scope="session")
def last() -> Iterator[Path]:
    """A checkout of the last release."""
    name, commit = last_release.revision()
    info(f"the last release is {name}, commit {commit}")
    with last_release.checkout(commit) as folder:
        yield folder


@pytest.fixture(scope="session")
def cluster(last: Path) -> Iterator[Cluster]:
    """A new cluster. A given one is not supported, because prod is published for this test."""
    if os.environ.get("KUBECONFIG"):
        pytest.exit("the test of upgrades starts its own cluster; unset KUBECONFIG", returncode=2)
    if os.environ.get(clusters.AGAIN):
        running = clusters.kept()
    else:
        clusters.prepare()
        builder = builders.StandAlone()
        releases.build_from(builder, last, Version.LAST)
        releases.build_from(builder, paths.REPOSITORY, Version.BUILT)
        builder.remove_old_layers()
        running = clusters.created()
    with running as item:
        yield item


@pytest.fixture(scope="session")
def delivery(cluster: Cluster, last: Path) -> Delivery:
    """The repository of the last release, served; nothing of it has been applied."""
    published = releases.publish(cluster.builder, cluster.registry, UPGRADE)
    if os.environ.get(clusters.AGAIN):
        repository = Repository(cluster.git_root)
        return Delivery(cluster, repository, releases.at_commits(repository, published), _ROOT)
    return bootstrap.seed(cluster, published, source=last, version=Version.LAST, root=_ROOT)
