"""The routes of random alerts through random trees, compared with Alertmanager's ``amtool``."""

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from notification_service.routing import reading

RECEIVERS = ("a", "b", "c", "d")
VALUES = {"level": ("low", "high", ""), "environment": ("prod", "dev", ""), "host": ("ci-1", "web")}
MATCHERS = (
    'level="high"', 'level!="high"', 'level=~"low|high"', 'level!~"l.*"', 'level=""',
    'environment="prod"', 'environment=~".+"', 'environment!=""', 'host=~"ci-.*"', 'host!~"ci"',
    "host=web",
)  # fmt: skip


def _route(generator: random.Random, depth: int) -> dict[str, Any]:
    route: dict[str, Any] = {}
    if generator.random() < 0.7:
        route["receiver"] = generator.choice(RECEIVERS)
    route["matchers"] = generator.sample(MATCHERS, generator.randint(1, 2))
    if generator.random() < 0.5:
        route["continue"] = True
    if depth < 3 and (children := _children(generator, depth)):
        route["routes"] = children
    return route


def _children(generator: random.Random, depth: int) -> list[dict[str, Any]]:
    made = [_route(generator, depth + 1) for _ in range(generator.randint(0, 4 - depth))]
    # Two siblings with the same matchers are one route here, so a tree has them once.
    return list({tuple(sorted(route["matchers"])): route for route in made}.values())


@pytest.mark.parametrize("seed", range(12))
def test_alerts_take_the_routes_of_alertmanager(seed: int, tmp_path: Path) -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("there is no amtool; Debian's package `prometheus-alertmanager` has it")
    generator = random.Random(seed)
    root = {"receiver": "a", "routes": _children(generator, 0) or [_route(generator, 1)]}
    hook = {"url": "https://hooks.example/x", "key_secret": "KEY"}
    tree = reading.read(
        yaml.safe_dump(
            {"route": root, "receivers": [{"name": name, "webhook": hook} for name in RECEIVERS]}
        )
    )
    configuration = tmp_path / "alertmanager.yml"
    configuration.write_text(
        yaml.safe_dump({"route": root, "receivers": [{"name": name} for name in RECEIVERS]})
    )

    for _ in range(8):
        labels = {name: generator.choice(values) for name, values in VALUES.items()}
        done = subprocess.run(
            [amtool, "config", "routes", "test", f"--config.file={configuration}",
             *(f"{name}={value}" for name, value in labels.items() if value)],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        found = [route.receiver for route in tree.resolve(labels)]
        assert ",".join(found) == done.stdout.strip(), (root, labels)
