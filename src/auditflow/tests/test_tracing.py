"""Traces are exported only to a configured collector, and only valid headers are propagated."""

from typing import Any

import pytest

from auditflow.errors import SettingsError
from auditflow.telemetry import tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("environ", "exported"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_the_variables_decide_about_the_export(environ: dict[str, str], exported: bool) -> None:
    assert tracing.is_exported(environ) is exported


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
)
def test_an_unsupported_exporter_is_an_error(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable}: '{value}' is not supported"):
        tracing.is_exported({**ENDPOINT, variable: value})


@pytest.mark.parametrize(
    ("headers", "propagated"),
    [
        (None, {}),
        ({"other": "x"}, {}),
        ({"traceparent": PARENT, "other": "x"}, {"traceparent": PARENT}),
        (
            {"traceparent": PARENT, "tracestate": "a=b"},
            {"traceparent": PARENT, "tracestate": "a=b"},
        ),
        ({"traceparent": PARENT, "tracestate": "x" * 513}, {"traceparent": PARENT}),
        ({"traceparent": 5, "tracestate": b"a=b"}, {}),
        ({"traceparent": "", "tracestate": "caf\xe9"}, {}),
    ],
)
def test_only_valid_headers_of_a_trace_are_propagated(headers: Any, propagated: Any) -> None:
    assert tracing.carrier(headers) == propagated
