"""The same facts have the same name, and different facts never share one."""

import pytest

from auditflow.contract import identity


def test_a_finding_is_named_by_rule_entity_and_bucket() -> None:
    name = identity.finding_id("r", {"user": "a", "host": "b"}, 5)
    assert name == identity.finding_id("r", {"host": "b", "user": "a"}, 5)
    assert str(name) == "97b896ca-8320-50ee-9150-866b1f2cc3fb"  # stored names must stay valid


@pytest.mark.parametrize(
    "other",
    [
        ("r", {"user": "a:b", "host": "c"}, 5),
        ("r", {"user": "a", "host": "b:c"}, 5),
        ("r", {"user": "a", "host": 'b",5'}, 5),
        ("r", {"user": "a"}, 5),
        ("r", {"user": "a", "host": "b"}, 6),
        ("r", {"user": "a", "host": "b"}, "5"),
        ("s", {"user": "a", "host": "b"}, 5),
    ],
)
def test_other_facts_have_other_names(other: tuple[str, dict[str, str], int]) -> None:
    assert identity.finding_id(*other) != identity.finding_id("r", {"user": "a", "host": "b"}, 5)


def test_a_fingerprint_is_no_finding() -> None:
    assert identity.fingerprint("r", {}) != identity.finding_id("r", {}, 0)


def test_a_record_is_named_by_its_bytes() -> None:
    assert identity.record_id(b"a\xff") == identity.record_id(b"a\xff")
    assert identity.record_id(b"a") != identity.record_id(b"a ")


def test_computed_identifiers_never_change() -> None:
    """They are a public contract: a change orphans all stored alerts."""
    entity = {"user": "a", "host": "b"}
    assert str(identity.fingerprint("r", entity)) == "791d27d3-4cfa-57b3-94d0-a6878d9378c3"
    assert identity.fingerprint("r", entity) == identity.fingerprint(
        "r", {"host": "b", "user": "a"}
    )
    assert identity.record_id(b"a") == "6fbd1504-491a-5177-9ea1-8f8a35994f7a"
