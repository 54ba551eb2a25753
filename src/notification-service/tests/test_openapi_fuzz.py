"""Requests that Schemathesis generates from the OpenAPI document never cause a server error."""

from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok


@pytest.mark.soak
def test_generated_requests_never_cause_a_server_error(
    api: httpx.Client, broker: Any, make_finding: Any, eventually: Any
) -> None:
    broker.send(make_finding())
    eventually(lambda: api.get("/api/v1/alerts/total").json()["total"] == 1)
    schema = schemathesis.openapi.from_dict(api.get("/openapi.json").json())
    base, headers = str(api.base_url).rstrip("/"), dict(api.headers)
    failures: list[str] = []
    # One connection, because the service limits the number of connections of an address.
    session = requests.Session()

    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.path.endswith("/stream"):
            continue  # it never ends

        @given(case=operation.as_strategy())
        @settings(
            max_examples=15,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def send(case: Any) -> None:
            case.call_and_validate(
                base_url=base,
                headers={**headers, **{k: str(v) for k, v in (case.headers or {}).items()},
                         "Authorization": headers["authorization"]},
                checks=[not_a_server_error],
                session=session,
                verify=False,
            )  # fmt: skip

        try:
            send()
        except Exception as error:  # noqa: BLE001 - every failure is reported
            failures.append(f"{operation.method} {operation.path}: {str(error)[:600]}")

    session.close()
    assert failures == [], "\n".join(failures)
