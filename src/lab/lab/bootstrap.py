"""Serves the repository under test and installs it like ``make bootstrap``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from gitops import git, layout, promotion, rollback, working_tree

from . import argocd, automation, offline, pages, paths, releases, traefik
from .cluster import Cluster
from .errors import LabError
from .forge import PORT, Forge
from .releases import Release, Version
from .repository import BRANCH, Repository
from .waiting import until

#: The file with the address of the repository.
_ADDRESS = Path("clusters/repository/repository.yaml")
_WINDOW = Path("clusters/prod/sync-window.yaml")
_BACKUPS = Path("apps/data/postgres/base/backup-cron-job.yaml")
_PREVIEW = Path("apps/platform/preview/kustomization.yaml")
_ARGO_CD = Path("bootstrap/argocd")
ROOT = Path("clusters/single")
#: An annotation that shows which base an environment runs.
BASE = "auditflow.io/e2e-base"
_BOT = git.Identity("e2e", "e2e@auditflow.invalid")


@dataclass
class Delivery:
    """The repository that Argo CD follows, and the releases for it."""

    cluster: Cluster
    repository: Repository
    releases: dict[tuple[str, Version], Release]
    #: The folder of the cluster.
    root: Path = ROOT
    #: The fake forge, if the promoter and the previews are enabled.
    forge: Forge | None = None
    #: What cannot be tested on this machine, with the reason.
    not_run: dict[str, str] = field(default_factory=dict)

    def pin(self, environment: str, version: Version, *services: str) -> None:
        """Write a version to release components. Without services: of all services."""
        for service in services or layout.SERVICES:
            release = self.releases[service, version]
            releases.pin(self.repository, service, environment, release)

    def deliver(self, message: str, *applications: str) -> str:
        """Commit, push and refresh the Applications. Returns the commit."""
        commit = self.repository.commit(message)
        argocd.refresh(self.cluster.kube, *applications)
        return commit

    def wait_for(
        self,
        name: str,
        commit: str,
        *,
        sync: str = "Synced",
        health: str | None = "Healthy",
        seconds: float = 180,
    ) -> None:
        """Wait until an Application has a state at this or a later commit. None means any health.

        Background tasks commit too, so the newest revision may be a later one.
        """
        argocd.wait_for(
            self.cluster.kube,
            name,
            revision=commit,
            contains=self.repository.contains,
            sync=sync,
            health=health,
            seconds=seconds,
        )

    def with_own_clone(self, name: str) -> Delivery:
        """Return a Delivery with its own clone, for a background task that commits."""
        return replace(self, repository=self.repository.clone(name))

    def annotate_base(self, app: str, value: str) -> None:
        """Set the annotation BASE on the Deployment in the base of an app."""
        file = self.repository.work / "apps" / app / "base" / "deployment.yaml"
        deployment = yaml.safe_load(file.read_text())
        deployment["metadata"].setdefault("annotations", {})[BASE] = value
        file.write_text(yaml.safe_dump(deployment, sort_keys=False))

    def promote(self, *, source: str, target: str, at: str = "") -> str:
        """Promote what the source runs at a commit, and merge. Returns the merge commit.

        :param at: the head of the clone by default.
        """
        promoted = promotion.promote(
            git.Repository(self.repository.work),
            source=source,
            target=target,
            main=BRANCH,
            at=at or self.repository.head(),
            identity=_BOT,
        )
        if promoted.commit is None:
            raise LabError(f"there is nothing to promote from {source} to {target}")
        return self.repository.merge(promoted.branch)

    def roll_back(self, environment: str, service: str) -> str:
        """Roll back a service by a commit, and merge it. Returns the merge commit."""
        reverted = rollback.rollback(
            git.Repository(self.repository.work),
            environment=environment,
            service=service,
            main=BRANCH,
            identity=_BOT,
        )
        return self.repository.merge(reverted.branch)

    def set_sync_window(self, *, schedule: str, duration: str) -> None:
        """Set the times at which prod may be synced."""
        file = self.repository.work / _WINDOW
        project = yaml.safe_load(file.read_text())
        project["spec"]["syncWindows"][0].update(schedule=schedule, duration=duration)
        file.write_text(yaml.safe_dump(project, sort_keys=False))


def seed(
    cluster: Cluster,
    published: dict[tuple[str, Version], Release],
    *,
    source: Path = paths.REPOSITORY,
    version: Version = Version.BUILT,
    root: Path = ROOT,
    forge: Forge | None = None,
) -> Delivery:
    """Serve a checkout as a git repository, with the changes that the lab needs.

    All environments start with the version and the current bases of the checkout.

    :param root: the folder of the cluster.
    :param forge: enable the promoter and the previews, with this forge.
    """
    repository = Repository(cluster.git_root)
    repository.seed(source)
    marked = releases.at_commits(repository, published)
    delivery = Delivery(cluster, repository, marked, root, forge)
    adapt(delivery, version)
    repository.commit("Set the address and the images of the lab")
    return delivery


def adapt(delivery: Delivery, version: Version) -> None:
    """Make the changes that the lab needs in the clone. Nothing is committed.

    The changes are the repository's address, the digests of images that are built here, prod's
    sync window, and the hour of the backups. The last two allow a run at any time of the day.
    """
    cluster, repository = delivery.cluster, delivery.repository
    address = repository.work / _ADDRESS
    document = yaml.safe_load(address.read_text())
    document["data"]["repoURL"] = f"{cluster.git_url}/{repository.bare.name}"
    address.write_text(yaml.safe_dump(document, sort_keys=False))
    delivery.set_sync_window(schedule="0 0 * * *", duration="24h")
    backups = repository.work / _BACKUPS
    job = yaml.safe_load(backups.read_text())
    job["spec"]["schedule"] = "0 0 29 2 *"
    backups.write_text(yaml.safe_dump(job, sort_keys=False))
    for environment in layout.ENVIRONMENTS:
        delivery.pin(environment, version)
    for environment in layout.ENVIRONMENTS[1:]:
        working_tree.write_snapshots(repository.work, environment)
    if delivery.forge is not None:
        automation.enable(
            repository.work,
            delivery.root,
            forge_url=f"http://{cluster.host}:{PORT}",
            repository_url=document["data"]["repoURL"],
        )
    if cluster.created_here:
        _remove_internet_references(delivery)


def _remove_internet_references(delivery: Delivery) -> None:
    repository = delivery.repository
    root = repository.work / delivery.root / "kustomization.yaml"
    root.write_text(root.read_text().replace("- ../monitoring\n", ""))
    delivery.not_run["clusters/monitoring"] = "its charts come from repositories of their own"
    offline.vendor(repository)
    rendered = offline.render(repository, overlays(repository))
    delivery.not_run.update(rendered.failed)
    digests, missing = offline.provide_images(rendered.images)
    offline.substitute_digests(repository, digests)
    delivery.not_run.update(dict.fromkeys(missing, "there is no stand-in for this image"))


def overlays(repository: Repository) -> list[Path]:
    """Every folder that an Application may point to, and those that people apply."""
    found = sorted(repository.work.glob("apps/**/envs/*/kustomization.yaml"))
    found += sorted(repository.work.glob("apps/platform/*/kustomization.yaml"))
    found = [
        file for file in found if file != repository.work / _PREVIEW
    ]  # its images are those of the services
    found += sorted(repository.work.glob("apps/data/*/restore/kustomization.yaml"))
    found.append(repository.work / "monitoring/base/kustomization.yaml")
    return [repository.work / _ARGO_CD, *(file.parent for file in found)]


def run(delivery: Delivery) -> None:
    """Run ``make bootstrap`` in the clone, and return when Argo CD is ready."""
    cluster, work = delivery.cluster, delivery.repository.work

    def bootstrapped() -> bool:
        try:
            pages.run(cluster, f"make --directory={work} bootstrap CLUSTER={delivery.root.name}")
        except LabError as error:
            # A kind is usable a short time after its creation. The command is repeated until then.
            raise AssertionError(error) from None
        return True

    traefik.install_kinds(cluster)
    until(bootstrapped, "`make bootstrap` succeeds", seconds=180, every=1)
    if delivery.forge is not None:
        automation.create_tokens(cluster, delivery.forge)
    for kind, name in (
        ("deployment", "argocd-server"),
        ("deployment", "argocd-repo-server"),
        ("statefulset", "argocd-application-controller"),
    ):
        cluster.kubectl(
            *("rollout", "status", f"{kind}/{name}"),
            *("--namespace", argocd.NAMESPACE, "--timeout=240s"),
        )
