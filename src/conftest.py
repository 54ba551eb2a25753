"""Which tests run in one process, and in which order, when `make test` has several.

Tests that use the same servers run in one process, which starts them once: a broker takes three
seconds of processor time. What takes longest begins first.
"""

from pathlib import PurePath
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# Timing decides no test: the first example of a run makes tables, others wait for servers.
settings.register_profile("auditflow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("auditflow")

#: Packages whose tests share a broker.
_BROKER: Final = ("audit-event-generator", "auditflow", "local", "provisioning")
#: Files of src/tests that do not use the shared platform. Each can run beside it.
_ALONE: Final = (
    "test_costs.py",
    "test_docs.py",
    "test_file_log.py",
    "test_mutation.py",
    "test_redis_fails_over.py",
    "test_typecheck.py",
    "test_up_with_tls.py",
    "test_upgrade_to_tls.py",
    "test_vocabulary.py",
)
#: What takes longest, the longest first.
_FIRST: Final = (
    "platform",
    "notification-service",
    "src/tests/monitoring/test_prometheus.py",
    "broker",
    "src/tests/test_costs.py",
    "src/tests/test_redis_fails_over.py",
    "src/audit-log-analysis/tests/test_windows_exact.py",
    "src/event-audit-dashboard/tests/test_browser.py",
    "src/gitops/tests/test_promotion.py",
)


def scope(nodeid: str) -> str:
    """The name of what runs in one process: servers that are shared, or a file."""
    file = nodeid.partition("::")[0]
    match PurePath(file).parts:
        case ("src", "tests", name) if name not in _ALONE:
            return "platform"
        case ("src", "tests", "dashboard", _):
            return "platform"
        case ("src", "notification-service" as package, *_):
            return package
        case ("src", package, *_) if package in _BROKER:
            return "broker"
    return file


def _rank(item: pytest.Item) -> int:
    name = scope(item.nodeid)
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
