"""Circuit breakers and limits on simultaneous calls."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry

from auditflow.circuit import FAILURES, CallRefused, Circuit, CircuitMetrics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(registry: CollectorRegistry, clock: Clock) -> Circuit:
    return Circuit(
        "api", counts=(OSError,), metrics=CircuitMetrics(registry), clock=clock, limit=2,
        pause_seconds=10,
    )  # fmt: skip


def fail(circuit: Circuit, times: int = FAILURES, error: Exception | None = None) -> None:
    for _ in range(times):
        with pytest.raises(type(error or OSError())), circuit.attempt():
            raise error or OSError


def refused(circuit: Circuit) -> str | None:
    try:
        with circuit.attempt():
            return None
    except CallRefused as error:
        return error.cause


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"dependency": "api", **labels})


def test_failures_in_a_row_open_the_circuit(circuit: Circuit, registry: CollectorRegistry) -> None:
    fail(circuit, FAILURES - 1)
    assert refused(circuit) is None
    fail(circuit, FAILURES - 1)
    assert not circuit.is_open
    fail(circuit, 1)
    assert circuit.is_open
    assert (refused(circuit), refused(circuit)) == ("open", "open")
    assert value(registry, "auditflow_circuit_open") == 1
    assert value(registry, "auditflow_circuit_refused_total", reason="open") == 2


def test_an_error_that_is_an_answer_is_no_failure(circuit: Circuit) -> None:
    fail(circuit, 2 * FAILURES, ValueError())
    assert not circuit.is_open


def test_one_call_after_the_pause_closes_the_circuit(
    circuit: Circuit, clock: Clock, registry: CollectorRegistry
) -> None:
    fail(circuit)
    clock.now += 9.9
    assert refused(circuit) == "open"
    clock.now += 0.1
    with circuit.attempt():
        assert refused(circuit) == "open"
    assert not circuit.is_open
    assert refused(circuit) is None
    assert value(registry, "auditflow_circuit_open") == 0


def test_a_failure_after_the_pause_starts_another_pause(circuit: Circuit, clock: Clock) -> None:
    fail(circuit)
    clock.now += 10
    fail(circuit, 1)
    assert refused(circuit) == "open"
    clock.now += 10
    assert refused(circuit) is None
    assert not circuit.is_open


def test_a_call_above_the_limit_is_refused(circuit: Circuit, registry: CollectorRegistry) -> None:
    with circuit.attempt(), circuit.attempt():
        assert refused(circuit) == "full"
        assert value(registry, "auditflow_circuit_calls") == 2
    assert refused(circuit) is None
    assert value(registry, "auditflow_circuit_calls") == 0
    assert value(registry, "auditflow_circuit_refused_total", reason="full") == 1


def test_calls_run_at_the_same_time(circuit: Circuit) -> None:
    together = threading.Barrier(2, timeout=60)

    def call() -> None:
        with circuit.attempt():
            together.wait()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(call), pool.submit(call)]:
            future.result(60)


def test_changes_are_reported(clock: Clock) -> None:
    changes: list[bool] = []
    circuit = Circuit("api", counts=(OSError,), on_change=changes.append, clock=clock)
    fail(circuit)
    clock.now += 60
    fail(circuit, 1)
    clock.now += 60
    assert refused(circuit) is None
    assert changes == [True, False]
