"""The limits of documents are exact, and the same for one document and for a batch."""

import pytest

from auditflow.contract import bounds, event
from auditflow.contract.event import Received
from auditflow.errors import ContractError

from .hostile import body


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def of_size(size: int) -> bytes:
    """An event of ``size`` bytes."""
    return body(resource="x" * (size - len(body(resource=""))))


@pytest.mark.parametrize("copies", [1, 3])
def test_an_event_has_at_most_256_kib(copies: int) -> None:
    # given a batch with an event of the maximum size, and one with a byte more
    others = [body()] * (copies - 1)
    largest = b"[" + b",".join([of_size(262_144), *others]) + b"]"
    larger = b"[" + b",".join([of_size(262_145), *others]) + b"]"

    # then only the larger event is refused
    assert [type(it) for it in event.decode_message(largest)] == [Received] * copies
    refused, *rest = event.decode_message(larger)
    assert getattr(refused, "reason", "").startswith("262145 bytes are more than the 262144")
    assert [type(it) for it in rest] == [Received] * (copies - 1)


def test_an_event_alone_has_at_most_256_kib() -> None:
    assert event.decode(of_size(262_144)).resource
    with pytest.raises(ContractError, match="262145 bytes are more than the 262144 allowed"):
        event.decode(of_size(262_145))


def test_a_message_has_at_most_one_mebibyte() -> None:
    def message(size: int) -> bytes:
        return b"[" + body() + b" " * (size - len(body()) - 2) + b"]"

    assert isinstance(event.decode_message(message(1_048_576))[0], Received)
    assert not isinstance(event.decode_message(message(1_048_577))[0], Received)


@pytest.mark.parametrize("brackets", [b"", b"[],[],{},[{}],"])
def test_the_maximum_depth_is_exact(brackets: bytes) -> None:
    # given many brackets that are not nested, beside a document of exactly the maximum depth
    siblings = brackets * 20
    bounds.check(b"[" + siblings + nested(6) + b"]", max_depth=7)
    with pytest.raises(ContractError, match="nested deeper than 7 levels"):
        bounds.check(b"[" + siblings + nested(7) + b"]", max_depth=7)


@pytest.mark.parametrize(
    ("document", "depth"),
    [
        (b"5", 0),
        (b"{}", 1),
        (b'{"a":[{"b":[]}]}', 4),
        (b'["[[[[]]]]"]', 1),
        (rb'["\"[[]]\\", [], "\\\"[[]]"]', 2),
        (rb'["\\", [[]]]', 3),
    ],
)
def test_brackets_in_strings_are_not_nesting(document: bytes, depth: int) -> None:
    assert bounds.depth(document) == depth


@pytest.mark.parametrize(("stop_at", "depth"), [(0, 0), (5, 5), (10, 10), (11, 10)])
def test_the_depth_is_measured_up_to_a_maximum(stop_at: int, depth: int) -> None:
    assert bounds.depth(nested(10), stop_at=stop_at) == depth


@pytest.mark.parametrize("backslashes", range(6))
def test_a_nul_character_is_refused_and_an_escaped_backslash_is_not(backslashes: int) -> None:
    # An odd number of backslashes before u0000 is an escape sequence, an even number is text.
    document = b'["' + b"\\" * backslashes + b'u0000"]'
    if backslashes % 2:
        with pytest.raises(ContractError, match="NUL"):
            bounds.check(document)
    else:
        bounds.check(document)
