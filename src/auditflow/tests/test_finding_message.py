"""Messages with several findings keep each finding and its headers, and refuse elements alone."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.amqp import Delivery
from auditflow.contract import finding_message
from auditflow.contract.finding_message import (
    FULL_BYTES,
    MAX_FINDINGS,
    MAX_MESSAGE_BYTES,
    EncodedFinding,
)
from auditflow.errors import ContractError

_HEADERS = st.dictionaries(
    st.sampled_from(["traceparent", "x-auditflow-accepted-at"]),
    st.one_of(st.text(max_size=60), st.integers(0, 2**53)),
)
_FINDINGS = st.lists(
    st.tuples(st.integers(0, 40_000).map(lambda size: b'"' + b"x" * size + b'"'), _HEADERS),
    min_size=1,
    max_size=30,
)


@given(_FINDINGS, st.integers(1, 8))
def test_groups_contain_all_findings_in_order_within_the_limits(
    findings: list[EncodedFinding], maximum: int
) -> None:
    groups = list(finding_message.group(findings, size=_size, maximum=maximum))

    decoded = [item for group in groups for item in finding_message.decode(_encoded(group))]
    assert decoded == findings
    for group in groups:
        assert len(group) <= maximum
        assert len(group) == 1 or sum(len(encoded) for encoded, _ in group) <= FULL_BYTES


def _size(item: EncodedFinding) -> int:
    return len(item[0])


def _encoded(group: list[EncodedFinding]) -> bytes:
    body = finding_message.encode(group)
    assert finding_message.is_array(body)
    return body


def test_an_element_without_a_finding_is_returned_unchanged() -> None:
    elements = [b'{"finding":{"a":1}}', b"7", b'{"headers":{}}', b'{"finding":1,"headers":[]}']

    decoded = finding_message.decode(b"[" + b",".join(elements) + b"]")

    assert decoded == [(b'{"a":1}', {}), *((element, {}) for element in elements[1:])]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", "the array has 0 elements, but it must have 1 to 1000"),
        (msgspec.json.encode([0] * (MAX_FINDINGS + 1)), "the array has 1001 elements"),
        (b'["' + b"x" * MAX_MESSAGE_BYTES + b'"]', "are more than the 1048576 allowed"),
        (b"[1,", "truncated"),
        (b"[1]]", "trailing characters"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_an_invalid_array_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        finding_message.decode(body)


def test_a_part_of_a_message_has_its_own_body_and_headers() -> None:
    message = Delivery(b"[1,2]", tag=7, redelivered=True)

    part = message.part(b"1", headers={"traceparent": "t"})

    assert (part.body, part.tag, part.redelivered) == (b"1", 7, True)
    assert part.headers == {"traceparent": "t"}
    assert (part.message_id, part.correlation_id) == (None, None)
