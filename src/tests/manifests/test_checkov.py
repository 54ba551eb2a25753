"""Checkov has no finding in the rendered manifests. Each exception is next to its object.

Checkov has a hundred dependencies, so uv runs it in a separate environment.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from auditflow_local import programs


def test_checkov_finds_nothing(manifests: Any, root: Path, tmp_path: Path, kit: Any) -> None:
    for environment in ("dev", "staging", "prod"):
        (tmp_path / f"{environment}.yaml").write_text(
            yaml.safe_dump_all(manifests.environment(environment))
        )
    for folder in ("base", "logs", "traces"):
        (tmp_path / f"monitoring-{folder}.yaml").write_text(
            yaml.safe_dump_all(kit.render(root / "monitoring" / folder))
        )
    for name, folder in (
        ("restore", "postgres/restore-s3"),
        ("restore-archive", "postgres/restore-archive"),
        ("redis-ha", "redis/ha"),
    ):
        objects = kit.render(root / "apps/data" / folder)
        for thing in objects:  # said by whoever uses it
            thing["metadata"]["namespace"] = "auditflow-dev"
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
    done = subprocess.run(
        (*programs.checkov(), "--directory", str(tmp_path), "--framework", "kubernetes", "--output", "json",
         "--quiet", "--compact"),
        env={"UV_SYSTEM_CERTS": "1"} | os.environ,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    found = [
        f"{failed_check['resource']}: {failed_check['check_id']} {failed_check['check_name']}"
        for failed_check in report.get("results", {}).get("failed_checks", [])
    ]
    assert not found, "\n".join(found)
    assert report["summary"]["passed"] > 1000


def test_every_exception_has_a_reason(manifests: Any, environment: str) -> None:
    for thing in manifests.environment(environment):
        for key, value in thing["metadata"].get("annotations", {}).items():
            if key.startswith("checkov.io/skip"):
                assert len(value.partition("=")[2]) > 10, thing
