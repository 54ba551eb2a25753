"""Requests that Schemathesis generates from the OpenAPI document, with all of its checks."""

from typing import Any, Final

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.openapi.checks import IgnoredAuth, RejectedPositiveData

load_all_checks()

_FILTER: Final = "cursors, times and networks have a syntax that a JSON schema cannot describe"
_MATCHERS: Final = "matchers and RRULEs have a syntax that a JSON schema cannot describe"
_DATA: Final = "the receiver or the dead letter must exist"
#: Operations that may reject a request that fits the schema, with the reason. All other checks
#: apply to them too.
MAY_REJECT: Final = {
    "GET /alerts": _FILTER,
    "GET /api/v1/alerts": _FILTER,
    "GET /api/v1/alerts/export": _FILTER,
    "GET /api/v1/alerts/facets": _FILTER,
    "GET /api/v1/alerts/total": _FILTER,
    "POST /api/v1/alerts/bulk": _FILTER,
    "POST /api/v1/alerts/{alert_id}/assign": "the assignee must be a user",
    "POST /api/v1/dead-letters/{queue}/discard": _DATA,
    "POST /api/v1/dead-letters/{queue}/replay": _DATA,
    "POST /api/v1/notifications/test": _DATA,
    "POST /api/v1/maintenance-windows": _MATCHERS,
    "POST /api/v1/silences": _MATCHERS,
    "POST /api/v1/silences/preview": _MATCHERS,
}


def _is_accepted(failure: BaseException, operation: str) -> bool:
    """Whether a failure of a check is documented behaviour."""
    if isinstance(failure, RejectedPositiveData):
        return operation in MAY_REJECT
    # After some failed sign-ins from an address, the service answers 429 before it reads the token.
    return isinstance(failure, IgnoredAuth) and "got `429 Too Many Requests`" in str(failure)


@pytest.mark.soak
def test_generated_requests_fit_the_document(
    api: httpx.Client, broker: Any, make_finding: Any, eventually: Any
) -> None:
    broker.send(make_finding())
    eventually(lambda: api.get("/api/v1/alerts/total").json()["total"] == 1)
    schema = schemathesis.openapi.from_dict(api.get("/openapi.json").json())
    base, token = str(api.base_url).rstrip("/"), api.headers["authorization"]
    failures: list[str] = []
    # One connection, because the service limits the number of connections of an address.
    session = requests.Session()
    operations: set[str] = set()

    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.path.endswith("/stream"):
            continue  # it never ends
        name = f"{operation.method.upper()} {operation.path}"
        operations.add(name)

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
                headers={"Authorization": token},
                checks=CHECKS.get_all(),
                session=session,
                verify=False,
            )

        try:
            send()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            for failure in getattr(error, "exceptions", [error]):
                if not _is_accepted(failure, name):
                    failures.append(f"{name}: {type(failure).__name__}: {str(failure)[:600]}")

    session.close()
    assert failures == [], "\n".join(failures)
    assert operations >= MAY_REJECT.keys()
