"""Fuzz the parsers of rules, rule tests, events, findings, archive messages, frames, cursors, tokens.

For every input, a parser raises its own error only, and its error can be printed.
"""

import string
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.exceptions import AMQPError

import audit_analysis
from audit_analysis.archive import decoding
from audit_analysis.archive.table import hour_of
from audit_analysis.events_api import parameters
from audit_analysis.ledger import blocks
from audit_analysis.ruletools import ruletest
from audit_analysis.sigma import yaml_reader
from audit_analysis.sigma.errors import RuleFault
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.load import load_valid
from audit_analysis.sigma.yaml_reader import YamlFault
from audit_event_generator import tokens
from auditflow.amqp.delivery import encode_properties
from auditflow.amqp.frames import FrameReader
from auditflow.contract import acceptance, archive, event, finding, finding_message, ledger
from auditflow.contract.archive import ArchivedMessage, Note
from auditflow.errors import ContractError
from notification_service.cursor import Cursors, InvalidCursor

from .budget import PROFILE, repeat

pytestmark = pytest.mark.soak
RULES = Path(audit_analysis.__file__).parent / "rules"
#: Shipped files of different kinds, small enough to be changed often.
RULE_FILES = [
    path.read_text(encoding="utf-8")
    for path in sorted(RULES.rglob("*.yml"))
    if not path.name.endswith(".test.yml") and path.stat().st_size < 3000
]
TEST_FILES = [
    path.read_text(encoding="utf-8")
    for path in sorted(RULES.rglob("*.test.yml"))
    if path.stat().st_size < 1500
]
#: Parts that have a meaning in YAML or Sigma, or that have broken parsers before.
PARTS = [
    "[", "]", "{", "}", ": ", "- ", "\n", "&a ", "*a", "<<: *a", "!!int ", "!!python/none", "---\n",
    "|", "> ", "? ", "~", "2024-13-01", "9" * 30, ".inf", ".nan", "0x", "1e400", "\\", "\x00",
    "\x85", "\ufeff", "not ", "1 of them", "all of s*", "(", ")", "|re", "|contains|all", "|cidr",
    "|expand", "%a%", "|windash", "|base64offset", "|fieldref", "|gt", "action: global",
    "correlation:", "filter:", "rules: any", "times: 1000000000", "at: 1.0e+300", "off: ", "5",
]  # fmt: skip
NATIVE = event.decode(
    b'{"event_id":"e","timestamp":"2026-01-01T00:00:00Z","event_type":"user_login","user_id":"u"}'
)


@st.composite
def damaged(draw: st.DrawFn, samples: list[str]) -> str:
    """A sample with a few parts that are replaced, inserted or removed."""
    text = draw(st.sampled_from(samples))
    inserted = st.sampled_from(PARTS) | st.text(max_size=5)
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 12))
        text = text[:position] + draw(inserted) + text[position + length :]
    return text


def file_bytes(samples: list[str]) -> st.SearchStrategy[bytes]:
    return damaged(samples).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(
        max_size=300
    )


def test_yaml() -> None:
    @PROFILE
    @given(damaged(RULE_FILES) | st.lists(st.sampled_from(PARTS), max_size=30).map("".join))
    def run(text: str) -> None:
        with suppress(YamlFault):
            list(yaml_reader.read_documents(text))

    repeat(run)


def test_rule_files() -> None:
    """A damaged file next to a valid file: the valid rule is active, and faults name one file."""
    valid = "title: V\nid: 20000000-0000-4000-8000-000000000001\nlogsource: {product: auditflow}\n"
    valid += "detection: {s: {event_type: user_login}, condition: s}\n"

    @PROFILE
    @given(file_bytes(RULE_FILES))
    def run(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "0.yml").write_text(valid)
            damaged_file = Path(folder, "1.yml")
            damaged_file.write_bytes(content)
            loaded = load_valid([Path(folder)], lateness=0)
            titles = {detector.rule.ref.title for detector in loaded.rules.match(View(NATIVE))}
        assert {fault.path for fault in loaded.faults} <= {damaged_file}
        assert all(str(fault).isprintable() for fault in loaded.faults)
        assert "V" in titles

    repeat(run)


def test_rule_tests() -> None:
    @PROFILE
    @given(file_bytes(TEST_FILES))
    def run(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "0.test.yml")
            path.write_bytes(content)
            try:
                tests = ruletest.read(path)
            except ruletest.TestFault as fault:
                str(fault).encode()
            else:
                assert sum(len(test.events) for test in tests) <= ruletest.MAX_EVENTS

    repeat(run)


def test_events_and_findings() -> None:
    sample = event.encode(NATIVE).decode()

    @PROFILE
    @given(file_bytes([sample, f"[{sample},{sample}]"]))
    def run(body: bytes) -> None:
        for decoded in event.decode_message(body):
            if isinstance(decoded, event.Refused):
                decoded.reason.encode()
            else:
                event.decode(event.encode(decoded.event))
        with suppress(ContractError):
            finding.decode(body, now=NATIVE.timestamp)
        with suppress(ContractError):
            for part, headers in finding_message.decode(body):
                assert len(part) <= len(body)
                assert isinstance(headers, dict)

    repeat(run)


#: Values that a field of MessagePack can have.
VALUES = (
    st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from([2**53, 4_102_444_800_000, 4_102_444_800_001])
    | st.binary(max_size=20)
    | st.text(max_size=5)
    | st.none()
    | st.booleans()
)


def changed_fields(encoded: bytes) -> st.SearchStrategy[bytes]:
    """MessagePack of an array with some elements, at any depth, that have another value."""

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        def copy(value: Any) -> Any:
            if draw(st.integers(0, 7)) == 0:
                return draw(VALUES)
            return list(map(copy, value)) if isinstance(value, list) else value

        return msgspec.msgpack.encode(list(map(copy, msgspec.msgpack.decode(encoded))))

    return change()


def test_archive_batches() -> None:
    """Damaged bytes, and batches of valid structure with any values."""
    messages = [
        ArchivedMessage(
            encode_properties(headers={acceptance.HEADER: 1_780_000_000_000}), event.encode(NATIVE)
        ),
        ArchivedMessage(b"", b"[7]"),
    ]
    notes = [Note(message=0, event=0, clamped_ms=5), Note(message=1, event=0, refused="text")]
    sample = archive.compress(messages).with_notes(notes, processed_ms=1_780_000_000_000, events=2)
    times = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**53, 253_402_300_800_000])
    headers = st.dictionaries(st.just(acceptance.HEADER), times)

    @PROFILE
    @given(changed_fields(sample) | st.binary(max_size=60), headers)
    def run(body: bytes, values: dict[str, int]) -> None:
        with suppress(ContractError):
            for decoded in decoding.messages_of_batch(archive.decode(body)):
                for row in decoded.rows:
                    hour_of(row.received_ms)
        message = ArchivedMessage(encode_properties(headers=values), event.encode(NATIVE))
        other = archive.compress([message]).with_notes((), processed_ms=0)
        for decoded in decoding.messages_of_batch(archive.decode(other)):
            hour_of(decoded.rows[0].received_ms)

    repeat(run)


def test_receipts() -> None:
    """Damaged bytes, and receipts of valid structure with any values."""
    entry = ledger.Entry("linux", 494_444, (ledger.Run(0, 3, 1), ledger.Run(5, 6, 254)))
    sample = ledger.encode_receipt(ledger.Receipt("0123456789abcdef", 1_780_000_000_000, (entry,)))

    @PROFILE
    @given(changed_fields(sample) | st.binary(max_size=60))
    def run(body: bytes) -> None:
        with suppress(ContractError):
            for changes in blocks.changes_of([ledger.decode_receipt(body)], []).values():
                blocks.Block().changed(changes).counts()

    repeat(run)


def test_frames() -> None:
    """Raw bytes, and frames with valid headers and any content."""
    frame_bytes = st.builds(
        lambda kind, channel, content, end: (
            bytes([kind]) + channel.to_bytes(2) + len(content).to_bytes(4) + content + end
        ),
        st.integers(1, 8),
        st.integers(0, 2),
        st.binary(max_size=60),
        st.sampled_from([b"\xce", b"\xce", b"\xce", b"", b"\x00"]),
    )

    @PROFILE
    @given(st.lists(frame_bytes | st.binary(max_size=30), max_size=6), st.integers(1, 64))
    def run(parts: list[bytes], size: int) -> None:
        reader = FrameReader(channel=1, frame_max=4096)
        wire = b"".join(parts)
        with suppress(AMQPError):
            for start in range(0, len(wire), size):
                for _ in reader.feed(wire[start : start + size]):
                    pass

    repeat(run)


def test_cursors() -> None:
    cursors = Cursors("secret")
    alphabet = string.ascii_letters + string.digits + "-_.="

    @PROFILE
    @given(st.text(alphabet, max_size=80) | st.text(max_size=40))
    def run(text: str) -> None:
        with suppress(InvalidCursor):
            cursors.read(text)
        with suppress(ValueError):
            parameters.read_cursor(text)

    repeat(run)


def test_tokens() -> None:
    @PROFILE
    @given(
        file_bytes(
            [
                '{"sources": {"a": {"tokens": ["' + "t" * 40 + '"], "rate": "5/second"}}}',
                '{"sources": {}}',
            ]
        )
    )
    def run(document: bytes) -> None:
        message = ""
        try:
            tokens.parse(document)
        except tokens.TokenError as error:
            message = str(error)
        assert "t" * 40 not in message
        message.encode()

    repeat(run)


def test_faults_are_printable() -> None:
    @PROFILE
    @given(st.text(max_size=2000))
    def run(text: str) -> None:
        fault = RuleFault.of(Path("a.yml"), 1, text)
        assert fault.message.isprintable()
        assert len(fault.message) < 12_000

    repeat(run)
