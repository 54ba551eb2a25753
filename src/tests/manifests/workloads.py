"""The workloads of an environment and their containers, for tests of manifests."""

from typing import Any

Object = dict[str, Any]


def workloads(objects: list[Object], kit: Any) -> list[Object]:
    found: list[Object] = kit.of_kind(objects, *kit.workloads)
    assert found
    return found


def containers(workload: Object, kit: Any) -> list[Object]:
    spec = kit.pod_template(workload)["spec"]
    every: list[Object] = spec.get("initContainers", []) + spec["containers"]
    return every


def servers(objects: list[Object], kit: Any) -> list[Object]:
    found: list[Object] = kit.of_kind(objects, "Deployment", "StatefulSet")
    return found
