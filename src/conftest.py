"""Which tests run in one process, and in which order, when `make test` has several.

Tests that use the same servers run in one process, which starts them once: a broker takes three
seconds of processor time. What takes longest begins first.
"""

import inspect
import re
from functools import cache
from pathlib import Path, PurePath
from typing import Final

import httpx
import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from auditflow_local.polling import WAIT_SECONDS

# Timing decides no test. By default, a request fails if a busy server needs five seconds.
_default: httpx.Timeout = inspect.signature(httpx.get).parameters["timeout"].default
_default.connect = _default.read = _default.write = _default.pool = WAIT_SECONDS
# The first example of a run makes tables, others wait for servers.
settings.register_profile("auditflow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("auditflow")

_ROOT: Final = Path(__file__).parents[1]
#: Packages whose tests share a broker.
_BROKER: Final = ("audit-event-generator", "auditflow", "local", "provisioning")
#: The argument of tests that use the shared platform. Other files of src/tests run beside it.
#: One file is an exception: only one of its long tests uses the platform.
_ALONE: Final = "test_redis_fails_over.py"
_PLATFORM: Final = re.compile(r"\b(?:platform: Platform|(?:fresh|late|shared)_platform)\b")
#: What takes longest, the longest first.
_FIRST: Final = (
    "platform",
    "notification-service",
    "dashboard",
    "src/notification-service/tests/notifications/test_storm_from_the_broker.py",
    "src/tests/monitoring/test_prometheus.py",
    "manifests",
    "broker",
    "src/tests/test_costs.py",
    "src/tests/test_redis_fails_over.py",
    "src/audit-log-analysis/tests/test_windows_exact.py",
    "src/event-audit-dashboard/tests/test_browser.py",
    "src/gitops/tests/test_promotion.py",
)


def scope(nodeid: str) -> str:
    """The name of what runs in one process: tests that share servers or files, a file, or a test.

    The tests of manifests share the rendered environments, which take seconds.
    """
    file = nodeid.partition("::")[0]
    match PurePath(file).parts:
        case ("src", "tests", name) if name != _ALONE and _uses_platform(file):
            return "platform"
        case ("src", "tests", ("dashboard" | "manifests") as folder, _):
            return folder
        case ("src", "tests", "test_costs.py") if "::test_an_event" in nodeid:
            return nodeid  # each of them takes minutes, and they share nothing
        case (*_, "notifications", "test_storm_from_the_broker.py"):
            return file
        case ("src", "notification-service" as package, *_):
            return package
        case ("src", package, *_) if package in _BROKER:
            return "broker"
    return file


@cache
def _uses_platform(file: str) -> bool:
    return bool(_PLATFORM.search((_ROOT / file).read_text("utf-8")))


def _rank(item: pytest.Item) -> int:
    name = scope(item.nodeid)
    name = name.partition("::")[0]
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_rank)


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


@pytest.hookimpl(optionalhook=True)  # also where xdist is switched off
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    """For ``--dist loadscope``."""
    if config.getoption("dist") != "loadscope":
        return None
    config.option.loadscopereorder = False
    return _Scheduling(config, log)
