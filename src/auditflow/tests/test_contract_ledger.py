"""Labels and receipts of the ledger."""

import datetime as dt

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.contract import ledger
from auditflow.contract.ledger import Entry, Label, Receipt, Run
from auditflow.errors import ContractError

PRODUCER = "0123456789abcdef"


def test_an_hour_is_in_milliseconds() -> None:
    assert dt.timedelta(milliseconds=ledger.HOUR_MS) == dt.timedelta(hours=1)


def test_a_label_is_read_back() -> None:
    label = Label(PRODUCER, "cloud_trail-1", 493_200, 7, 100)
    assert ledger.label_of({ledger.HEADER: label.header()}) == label
    assert ledger.copied_header({ledger.HEADER: label.header(), "other": 1}) == {
        ledger.HEADER: label.header()
    }


@pytest.mark.parametrize(
    "value",
    [
        None, 7, b"x", "", f"{PRODUCER}:okta:1:1", f"{PRODUCER}:okta:1:1:0",
        f"{PRODUCER}:okta:1:1:255", f"{PRODUCER}:OKTA:1:1:1", f"{PRODUCER}:okta:1139521:1:1",
        f"{PRODUCER}:okta:1:-1:1", f"{PRODUCER}:okta:1:1:1\n", f"{PRODUCER}:okta:\u0661:1:1",
        f"x{PRODUCER}:okta:1:1:1", f"{PRODUCER}:{'a' * 41}:1:1:1",
    ],
)  # fmt: skip
def test_an_invalid_label_is_no_label(value: object) -> None:
    assert ledger.label_of({ledger.HEADER: value}) is None


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (f"{PRODUCER}:okta:0:0:1", Label(PRODUCER, "okta", 0, 0, 1)),
        (f"{PRODUCER}:okta:1139520:1:254", Label(PRODUCER, "okta", 1_139_520, 1, 254)),
    ],
)
def test_the_limits_of_a_label_are_valid(value: str, label: Label) -> None:
    assert ledger.label_of({ledger.HEADER: value}) == label


def test_an_invalid_label_is_not_copied() -> None:
    assert ledger.copied_header({}) == {}
    assert ledger.copied_header({ledger.HEADER: "x"}) == {}


@given(st.dictionaries(st.integers(0, 50), st.integers(1, 3), max_size=30))
def test_runs_contain_each_message_once(messages: dict[int, int]) -> None:
    runs = ledger.runs_of(messages.items())
    assert {n: run.events for run in runs for n in range(run.start, run.stop)} == messages
    assert len(runs) <= len(messages)


@pytest.mark.parametrize(
    ("messages", "runs"),
    [
        ([], ()),
        ([(7, 1)], (Run(7, 8, 1),)),
        ([(2, 5), (1, 5), (0, 5)], (Run(0, 3, 5),)),
        ([(0, 5), (1, 5), (3, 5)], (Run(0, 2, 5), Run(3, 4, 5))),
        ([(0, 5), (1, 6), (2, 6)], (Run(0, 1, 5), Run(1, 3, 6))),
        ([(0, 5), (2, 6), (3, 6), (4, 6)], (Run(0, 1, 5), Run(2, 5, 6))),
    ],
)
def test_a_run_has_consecutive_messages_with_the_same_number_of_events(
    messages: list[tuple[int, int]], runs: tuple[Run, ...]
) -> None:
    assert ledger.runs_of(messages) == runs


def test_the_encoding_of_a_receipt_is_stable() -> None:
    """A process of another version reads it, and its identifier finds repeated receipts."""
    body = ledger.encode_receipt(Receipt(PRODUCER, 5, (Entry("okta", 6, (Run(7, 9, 2),)),)))
    assert msgspec.msgpack.decode(body) == [PRODUCER, 5, [["okta", 6, [[7, 9, 2]]]], 1]
    assert ledger.receipt_id(body).hex() == "d28b297fcc13952af002b302cb51ca5e"


def test_a_receipt_is_read_back() -> None:
    receipt = Receipt(PRODUCER, 1_780_000_000_000, (Entry("okta", 494_444, (Run(0, 4, 100),)),))
    assert ledger.decode_receipt(ledger.encode_receipt(receipt)) == receipt


def entries(number: int) -> tuple[Entry, ...]:
    return tuple(Entry("okta", hour, (Run(0, 1, 1),)) for hour in range(number))


@pytest.mark.parametrize(
    "receipt",
    [
        Receipt(PRODUCER, 0, ()),
        Receipt(PRODUCER, 2**53 - 1, ()),
        Receipt(PRODUCER, 0, entries(10_000)),
        Receipt(PRODUCER, 0, (Entry("okta", 1, (Run(5, 500_005, 1), Run(500_005, 1_000_005, 1))),)),
    ],
)
def test_the_limits_of_a_receipt_are_valid(receipt: Receipt) -> None:
    assert ledger.decode_receipt(ledger.encode_receipt(receipt)) == receipt


@pytest.mark.parametrize(
    "receipt",
    [
        Receipt(PRODUCER, 2**53, ()),
        Receipt(PRODUCER, 0, entries(10_001)),
        Receipt(PRODUCER, 0, (Entry("okta", 1, (Run(0, 500_001, 1), Run(500_001, 1_000_001, 1))),)),
        Receipt(PRODUCER, 0, (Entry("okta", 1, (Run(2, 1, 1), Run(0, 1, 1))),)),
        Receipt(PRODUCER, 0, (Entry("okta", 1, (Run(0, 2**63 - 1, 1),)),)),
        Receipt("not hexadecimal", 0, (Entry("okta", 1, (Run(0, 1, 1),)),)),
        Receipt(PRODUCER, -1, ()),
        Receipt(PRODUCER, 0, (), 2),
        Receipt(PRODUCER, 0, (Entry("okta", 1, (Run(1, 1, 1),)),)),
        Receipt(PRODUCER, 0, (Entry("okta", 1, (Run(0, 2**40, 1),)),)),
        Receipt(PRODUCER, 0, (Entry("okta", 1, (Run(0, 1_000_001, 1),)),)),
        Receipt(PRODUCER, 0, (Entry("okta", 1, (Run(0, 1, 255),)),)),
        Receipt(PRODUCER, 0, (Entry("Okta", 1, (Run(0, 1, 1),)),)),
    ],
)
def test_an_invalid_receipt_is_refused(receipt: Receipt) -> None:
    with pytest.raises(ContractError):
        ledger.decode_receipt(ledger.encode_receipt(receipt))


@pytest.mark.parametrize("body", [b"", b"\xff", b"\x93", msgspec.msgpack.encode({"a": 1})])
def test_bytes_that_are_no_receipt_are_refused(body: bytes) -> None:
    with pytest.raises(ContractError, match="not a receipt"):
        ledger.decode_receipt(body)
