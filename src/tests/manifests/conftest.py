"""Fixtures of the manifest tests: all manifests, rendered once as Argo CD renders them."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditflow_local import programs
from gitops import working_tree

from .databases import Database

ROOT = Path(__file__).parents[3]
WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob")

Object = dict[str, Any]


def render(folder: Path) -> list[Object]:
    """The objects that Kustomize renders from a folder."""
    done = subprocess.run(
        (str(programs.build(programs.KUSTOMIZE)), "build", str(folder)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    return [item for item in yaml.load_all(done.stdout, yaml.CSafeLoader) if item]


def render_application(application: Object, repository: Path) -> list[Object]:
    """The objects of an Application, with the Kustomize options that it sets."""
    source = application["spec"]["source"]
    options = source.get("kustomize", {})
    with tempfile.TemporaryDirectory(dir=repository.parent) as temporary:
        folder = Path(temporary)
        overlay: Object = {"resources": [os.path.relpath(repository / source["path"], folder)]}
        if "namespace" in options:
            overlay["namespace"] = options["namespace"]
        if "commonLabels" in options:
            assert options["labelWithoutSelector"]
            overlay["labels"] = [
                {
                    "pairs": options["commonLabels"],
                    "includeTemplates": options["labelIncludeTemplates"],
                }
            ]
        overlay["patches"] = options.get("patches", [])
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        return render(folder)


class Manifests:
    """A checkout's environments, rendered."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    @cache  # noqa: B019 - one object lives as long as the tests
    def cluster(self, folder: str) -> list[Object]:
        """The objects in clusters/."""
        return render(self.root / "clusters" / folder)

    def applications(self, environment: str) -> dict[str, Object]:
        """An environment's Applications, by name."""
        return {
            item["metadata"]["name"]: item
            for item in self.cluster(environment)
            if item["kind"] == "Application"
        }

    @cache  # noqa: B019
    def environment(self, environment: str) -> list[Object]:
        """Every object that Argo CD would apply in an environment."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rendered = pool.map(
                lambda application: render_application(application, self.root),
                self.applications(environment).values(),
            )
            return [item for objects in rendered for item in objects]


def pod_template(workload: Object) -> Object:
    """The template of a workload's pods, wherever its kind keeps it."""
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template: Object = spec["template"]
    return template


def name(thing: Object) -> str:
    """The name of an object in messages of tests."""
    return f"{thing['kind']}/{thing['metadata']['name']}"


class Kit:
    """The helpers, for tests that cannot import them."""

    workloads = WORKLOADS
    manifests = Manifests
    name = staticmethod(name)
    pod_template = staticmethod(pod_template)
    render = staticmethod(render)
    render_application = staticmethod(render_application)

    @staticmethod
    def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
        """The objects of some kinds."""
        return [item for item in objects if item["kind"] in kinds]


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the manifests in which staging and prod have the current bases.

    The tests check what is written now. staging and prod get it by a promotion.
    """
    copy = tmp_path_factory.mktemp("promoted")
    for folder in ("apps", "clusters", "src/auditflow", "src/provisioning"):
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "tests")
        )
    for environment in ("staging", "prod"):
        working_tree.write_snapshots(copy, environment)
    return copy


@pytest.fixture(scope="session")
def manifests(promoted: Path) -> Manifests:
    return Manifests(promoted)


@pytest.fixture(scope="session", params=["dev", "staging", "prod"])
def environment(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def objects(manifests: Manifests, environment: str) -> list[Object]:
    return manifests.environment(environment)


@pytest.fixture
def opted_in(promoted: Path, tmp_path: Path, kit: Any) -> Callable[..., list[Object]]:
    """Renders an application of production with a component, and what else goes with it."""

    def render(app: str, component: str, **more: Any) -> list[Object]:
        base = promoted / f"apps/{app}/envs/prod"
        kustomization = yaml.safe_load((base / "kustomization.yaml").read_text())
        overlay = {
            "resources": [os.path.relpath(base, tmp_path)],
            "components": [os.path.relpath(promoted / f"apps/components/{component}", tmp_path)],
            **{name: kustomization[name] for name in ("namespace", "labels")},
            **more,
        }
        (tmp_path / "kustomization.yaml").write_text(json.dumps(overlay))
        rendered: list[Object] = kit.render(tmp_path)
        return rendered

    return render


@pytest.fixture
def database(make_postgres: Callable[[Path], Any], tmp_path: Path, root: Path) -> Database:
    return Database(make_postgres(tmp_path / "pod"), tmp_path, root / "apps")
