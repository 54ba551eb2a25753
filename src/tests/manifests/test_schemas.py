"""Every object is valid. An unknown field is an error.

Kinds of Kubernetes are checked by the schemas of the pinned version. Custom kinds are checked by the
schemas of a catalogue, or of a folder or address in CRD_SCHEMAS with {group}, {kind} and {version}.
"""

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from kubernetes_validate import utils

KUBERNETES = "1.37"
CATALOGUE = os.environ.get(
    "CRD_SCHEMAS",
    "https://raw.githubusercontent.com/datreeio/CRDs-catalog/main/{group}/{kind}_{version}.json",
)
#: Components that no environment has by default, and where each would be added.
OPTIONAL = {
    "oidc": ("event-audit-dashboard",),
    "canary": ("event-audit-dashboard", "notification-service"),
    "keda": ("audit-log-analysis",),
    "cert-manager": ("secrets",),
    "canary canary-traefik": ("event-audit-dashboard",),
    "archive-s3": ("audit-event-archive",),
    "backup-s3": ("data/postgres",),
    "redis-sentinel": ("audit-log-analysis",),
    "external-secrets": ("secrets",),
    "traces": (
        "audit-event-generator",
        "audit-log-analysis",
        "event-audit-dashboard",
        "notification-service",
    ),
}
FOLDERS = (
    "apps/data/postgres/ha",
    "apps/data/postgres/restore",
    "apps/data/postgres/restore-archive",
    "apps/data/postgres/restore-s3",
    "apps/data/rabbitmq/ha",
    "apps/data/redis/ha",
    "monitoring/base",
    "monitoring/boards",
    "monitoring/logs",
    "monitoring/rules/objects",
    "monitoring/traces",
    "apps/platform/image-policies",
    "apps/platform/storage",
    "bootstrap/argocd/own",
    "bootstrap/argocd/settings",
)


class NotReachable(Exception):
    pass


@pytest.fixture(scope="module", autouse=True)
def _definitions_are_read_once() -> Iterator[None]:
    """The library reads its two megabytes of definitions for each object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
    # The API server's regular expressions are Go's; some have flags where Python wants none.
    flags = re.match(r"\^?\(\?([a-z]+)\)", pattern)
    if flags:
        pattern = f"(?{flags[1]})" + pattern.replace(f"(?{flags[1]})", "")
    if isinstance(value, str) and not re.search(pattern, value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})


#: The first time that the catalogue could not be reached, which is enough to know.
_unreachable: list[str] = []


@cache
def custom_schema(group: str, kind: str, version: str) -> Any:
    location = CATALOGUE.format(group=group, kind=kind, version=version)
    if _unreachable:
        raise NotReachable(_unreachable[0])
    try:
        if "://" in location:
            with urllib.request.urlopen(location, timeout=60) as answer:
                return json.load(answer)
        return json.loads(Path(location).read_text())
    except urllib.error.HTTPError as error:
        pytest.fail(f"the catalogue has no schema of {kind} of {group}/{version}: {error}")
    except OSError as error:
        if "://" in location:
            _unreachable.append(f"{location}: {error}")
            raise NotReachable(_unreachable[0]) from None
        pytest.fail(f"there is no {location}")


def problems(thing: dict[str, Any], name: str) -> list[str]:
    group, _, version = thing["apiVersion"].rpartition("/")
    native = "." not in group or group.endswith(".k8s.io")
    try:
        if native:
            kubernetes_validate.validate(thing, KUBERNETES, strict=True)
        else:
            schema = custom_schema(group, thing["kind"].lower(), version)
            Validator(schema).validate(thing)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        location = ".".join(str(part) for part in error.path)
        return [f"{name}: {location}: {error.message[:200]}"]
    return []


def check(objects: list[dict[str, Any]], kit: Any) -> None:
    found: list[str] = []
    left_out: set[str] = set()
    for thing in objects:
        try:
            found += problems(thing, kit.name(thing))
        except NotReachable as error:
            left_out.add(str(error))
    assert not found, "\n".join(found)
    if left_out:
        pytest.skip(f"custom kinds were not checked: {sorted(left_out)[0]}")


def test_environments(objects: list[dict[str, Any]], kit: Any) -> None:
    check(objects, kit)


@pytest.mark.parametrize(
    "folder",
    [
        "dev",
        "staging",
        "prod",
        "single",
        "cluster-dev",
        "cluster-staging",
        "cluster-prod",
    ],
)
def test_clusters(manifests: Any, folder: str, kit: Any) -> None:
    check(manifests.cluster(folder), kit)


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_no_environment_has(root: Path, folder: str, kit: Any) -> None:
    check(kit.render(root / folder), kit)


@pytest.mark.parametrize(
    ("components", "app"), [(names, app) for names, apps in OPTIONAL.items() for app in apps]
)
def test_components_that_are_opted_into(
    promoted: Path, tmp_path: Path, components: str, app: str, kit: Any
) -> None:
    overlay = {
        "resources": [os.path.relpath(promoted / f"apps/{app}/envs/prod", tmp_path)],
        "components": [
            os.path.relpath(promoted / f"apps/components/{word}", tmp_path)
            for word in components.split()
        ],
        "namespace": "auditflow-prod",
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(overlay))
    check(kit.render(tmp_path), kit)
