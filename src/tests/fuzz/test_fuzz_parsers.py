"""Fuzz the parsers of rules, rule tests, events, findings, frames, cursors and tokens.

For every input, a parser raises its own error only, and its error can be printed.
"""

import string
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.exceptions import AMQPError

import audit_analysis
from audit_analysis.events_api import parameters
from audit_analysis.ruletools import ruletest
from audit_analysis.sigma import yaml_reader
from audit_analysis.sigma.errors import RuleFault
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.load import load_valid
from audit_analysis.sigma.yaml_reader import YamlFault
from audit_event_generator import tokens
from auditflow.amqp.frames import FrameReader
from auditflow.contract import event, finding, finding_message
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
