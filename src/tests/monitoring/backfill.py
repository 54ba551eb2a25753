"""Past samples for the ledger: hours of events, all of which were processed."""

import subprocess
import time
from typing import Final

from src.tests.platform import Platform

from auditflow_local.servers.prometheus import NAMESPACE, Prometheus

HOURS: Final = 6
STEP: Final = 30
#: Events accepted, and analysed, in a second.
RATE: Final = 2


def series(platform: Platform) -> dict[str, str]:
    """The two sides of the ledger as Prometheus will name them when it scrapes them itself."""
    generator, analysis = platform.generator, platform.analysis
    return {
        "auditflow_events_accepted_total": _labels(generator.name, generator.port, source="ndjson"),
        "auditflow_analysis_events_total": _labels(
            analysis.name, analysis.port, outcome="analysed"
        ),
    }


def write(platform: Platform, prometheus: Prometheus) -> None:
    """Put it into the data of a Prometheus that has not started yet.

    Both services must begin to count anew, as after a restart, or what they had counted before
    would look as if it came at once.
    """
    end = int(time.time()) - STEP
    lines = []
    for metric, labels in series(platform).items():
        lines.append(f"# TYPE {metric.removesuffix('_total')} counter")
        for past in range(HOURS * 3600, -1, -STEP):
            lines.append(f"{metric}{labels} {(HOURS * 3600 - past) * RATE} {end - past}")
    prometheus.folder.mkdir(parents=True, exist_ok=True)
    file = prometheus.folder / "past.om"
    file.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    _promtool("tsdb", "create-blocks-from", "openmetrics", str(file), str(prometheus.data))


def _labels(job: str, port: int, **own: str) -> str:
    labels = {
        "instance": f"127.0.0.1:{port}",
        "job": job,
        "metrics_path": "/metrics",
        "namespace": NAMESPACE,
        **own,
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def _promtool(*words: str) -> None:
    done = subprocess.run(("promtool", *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
