"""The meaning of Sigma's modifiers: small rules, with events that match and that do not match."""

import base64
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest

from audit_analysis.sigma.errors import RuleErrors
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event

HEAD = """
title: Sample
id: 11111111-2222-4333-8444-555555555555
logsource: {product: sample}
level: low
"""


def rules(folder: Path, detection: str, head: str = HEAD) -> RuleSet:
    body = textwrap.indent(textwrap.dedent(detection).strip(), "  ")
    (folder / "rule.yml").write_text(f"{head}detection:\n{body}\n", "utf-8")
    return load([folder], lateness=0)


def matches(which: RuleSet, record: Any, **fields: Any) -> bool:
    document = {
        "event_id": "e",
        "timestamp": "2026-01-01T00:00:00Z",
        "event_type": "t",
        "logsource": {"product": "sample"},
        "record": record,
        **fields,
    }
    return any(which.match(View(event.decode(msgspec.json.encode(document)))))


TRUE, FALSE = True, False


def _base64(text: str, encoding: str) -> str:
    return base64.b64encode(text.encode(encoding)).decode()


# (what it shows, detection, record, whether it matches)
CASES = [
    ("text ignores case", "s: {a: Hello}\ncondition: s", {"a": "hELLO"}, TRUE),
    ("text is the whole text", "s: {a: hello}\ncondition: s", {"a": "hello!"}, FALSE),
    ("cased does not ignore case", "s: {a|cased: Hello}\ncondition: s", {"a": "hello"}, FALSE),
    ("cased", "s: {a|cased: Hello}\ncondition: s", {"a": "Hello"}, TRUE),
    ("a list is any of it", "s: {a: [x, y]}\ncondition: s", {"a": "y"}, TRUE),
    ("a list is none of others", "s: {a: [x, y]}\ncondition: s", {"a": "z"}, FALSE),
    ("a list of the event is any of it", "s: {a: y}\ncondition: s", {"a": ["x", "y"]}, TRUE),
    ("fields are all of them", "s: {a: x, b: y}\ncondition: s", {"a": "x", "b": "z"}, FALSE),
    ("maps in a list are any", "s: [{a: x}, {b: y}]\ncondition: s", {"b": "y"}, TRUE),
    ("a star is anything", "s: {a: 'b*d'}\ncondition: s", {"a": "bcccd"}, TRUE),
    ("a star crosses lines", "s: {a: 'b*d'}\ncondition: s", {"a": "b\n\nd"}, TRUE),
    ("a question mark is one", "s: {a: 'b?d'}\ncondition: s", {"a": "bd"}, FALSE),
    ("an escaped star is a star", r"s: {a: 'b\*d'}" "\ncondition: s", {"a": "b*d"}, TRUE),
    ("and nothing else", r"s: {a: 'b\*d'}" "\ncondition: s", {"a": "bxd"}, FALSE),
    ("a backslash is a backslash", r"s: {a: 'c:\temp'}" "\ncondition: s", {"a": r"C:\Temp"}, TRUE),
    ("contains", "s: {a|contains: ell}\ncondition: s", {"a": "Hello"}, TRUE),
    ("contains all", "s: {a|contains|all: [he, lo]}\ncondition: s", {"a": "Hello"}, TRUE),
    ("contains all, not some", "s: {a|contains|all: [he, x]}\ncondition: s", {"a": "Hello"}, FALSE),
    ("startswith", "s: {a|startswith: he}\ncondition: s", {"a": "Hello"}, TRUE),
    ("endswith", "s: {a|endswith: he}\ncondition: s", {"a": "Hello"}, FALSE),
    ("brackets are no pattern", "s: {a: '(x)*[y]'}\ncondition: s", {"a": "(x) [y]"}, TRUE),
    ("re is searched", "s: {a|re: 'l{2}'}\ncondition: s", {"a": "hello"}, TRUE),
    ("re minds case", "s: {a|re: 'L{2}'}\ncondition: s", {"a": "hello"}, FALSE),
    ("re with i does not", "s: {a|re|i: 'L{2}'}\ncondition: s", {"a": "hello"}, TRUE),
    ("a number", "s: {a: 5}\ncondition: s", {"a": 5}, TRUE),
    ("a number as text", "s: {a: 5}\ncondition: s", {"a": "5"}, TRUE),
    ("text as a number", "s: {a: '5'}\ncondition: s", {"a": 5}, TRUE),
    ("truth", "s: {a: true}\ncondition: s", {"a": True}, TRUE),
    ("truth is not one", "s: {a: 1}\ncondition: s", {"a": True}, FALSE),
    ("greater", "s: {a|gt: 5}\ncondition: s", {"a": 6}, TRUE),
    ("not greater", "s: {a|gt: 5}\ncondition: s", {"a": "5"}, FALSE),
    ("text is not greater", "s: {a|gt: 5}\ncondition: s", {"a": "many"}, FALSE),
    ("null is a missing field", "s: {a: null}\ncondition: s", {"b": 1}, TRUE),
    ("null is null", "s: {a: null}\ncondition: s", {"a": None}, TRUE),
    ("null is not empty", "s: {a: null}\ncondition: s", {"a": ""}, FALSE),
    ("empty is empty", "s: {a: ''}\ncondition: s", {"a": ""}, TRUE),
    ("empty is not missing", "s: {a: ''}\ncondition: s", {}, FALSE),
    ("exists", "s: {a|exists: true}\ncondition: s", {"a": None}, TRUE),
    ("exists not", "s: {a|exists: false}\ncondition: s", {"a": 1}, FALSE),
    ("a network", "s: {a|cidr: 10.0.0.0/8}\ncondition: s", {"a": "10.1.2.3"}, TRUE),
    ("outside the network", "s: {a|cidr: 10.0.0.0/8}\ncondition: s", {"a": "11.1.2.3"}, FALSE),
    ("a name is in no network", "s: {a|cidr: 0.0.0.0/0}\ncondition: s", {"a": "host"}, FALSE),
    ("a network of six", "s: {a|cidr: 'fd00::/8'}\ncondition: s", {"a": "fd00::1"}, TRUE),
    ("another field", "s: {a|fieldref: b}\ncondition: s", {"a": "X", "b": "x"}, TRUE),
    ("base64", "s: {a|base64: hi}\ncondition: s", {"a": "aGk="}, TRUE),
    ("base64offset", "s: {a|base64offset|contains: foobar}\ncondition: s", {"a": "AGZvb2Jhcg=="}, TRUE),
    ("utf16le in base64", "s: {a|utf16le|base64offset|contains: whoami}\ncondition: s", {"a": _base64("do whoami", "utf-16-le")}, TRUE),
    ("wide in base64", "s: {a|wide|base64offset|contains: whoami}\ncondition: s", {"a": _base64("do  whoami", "utf-16-le")}, TRUE),
    ("utf16be in base64", "s: {a|utf16be|base64offset|contains: whoami}\ncondition: s", {"a": _base64("do whoami", "utf-16-be")}, TRUE),
    ("utf16 has a mark", "s: {a|utf16|base64|contains: whoami}\ncondition: s", {"a": _base64("\ufeffwhoami", "utf-16-le")}, TRUE),
    ("windash of any dash", "s: {a|windash|contains: ' -x'}\ncondition: s", {"a": "cmd \u2014x"}, TRUE),
    ("re with m", "s: {a|re|m: '^b$'}\ncondition: s", {"a": "a\nb\nc"}, TRUE),
    ("re without m", "s: {a|re: '^b$'}\ncondition: s", {"a": "a\nb\nc"}, FALSE),
    ("re with s", "s: {a|re|s: 'a.b'}\ncondition: s", {"a": "a\nb"}, TRUE),
    ("re with all flags", "s: {a|re|i|m|s: '^A.b$'}\ncondition: s", {"a": "x\na\nb\ny"}, TRUE),
    ("re all", "s: {a|re|all: [a, b]}\ncondition: s", {"a": "b"}, FALSE),
    ("neq", "s: {a|neq: x}\ncondition: s", {"a": "X"}, FALSE),
    ("neq of a list is none of it", "s: {a|neq: [x, y]}\ncondition: s", {"a": "z"}, TRUE),
    ("neq of a number", "s: {a|neq: 5}\ncondition: s", {"a": 6}, TRUE),
    ("neq of another field", "s: {a|fieldref|neq: b}\ncondition: s", {"a": "1", "b": "1"}, FALSE),
    ("contains another field", "s: {a|fieldref|contains: b}\ncondition: s", {"a": "0123", "b": "12"}, TRUE),
    ("starts with another field", "s: {a|fieldref|startswith: b}\ncondition: s", {"a": "0123", "b": "12"}, FALSE),
    ("exists as an object", "s: {a.b|exists: true}\ncondition: s", {"a": {"b": {"c": 1}}}, TRUE),
    ("exists as an empty list", "s: {a|exists: false}\ncondition: s", {"a": []}, FALSE),
    ("an address of four in six", "s: {a|cidr: 10.0.0.0/8}\ncondition: s", {"a": "::ffff:10.1.2.3"}, TRUE),
    ("a minute", "s: {a|minute: 59}\ncondition: s", {"a": "2026-01-05T03:59:00Z"}, TRUE),
    ("a day", "s: {a|day: 5}\ncondition: s", {"a": "2026-01-05T03:59:00Z"}, TRUE),
    ("a week", "s: {a|week: 2}\ncondition: s", {"a": "2026-01-05T03:59:00Z"}, TRUE),
    ("a month", "s: {a|month: 1}\ncondition: s", {"a": "2026-01-05T03:59:00Z"}, TRUE),
    ("a year", "s: {a|year: 2025}\ncondition: s", {"a": "2026-01-05T03:59:00Z"}, FALSE),
    ("after an hour", "s: {a|hour|gte: 22}\ncondition: s", {"a": "2026-01-05T23:59:00Z"}, TRUE),
    ("not after an hour", "s: {a|hour|gt: 22}\ncondition: s", {"a": "2026-01-05T22:59:00Z"}, FALSE),
    ("all keywords", "k: {'|all': [foo, bar]}\ncondition: k", {"a": "foo", "b": "bar"}, TRUE),
    ("not all keywords", "k: {'|all': [foo, bar]}\ncondition: k", {"a": "foo"}, FALSE),
    ("a pattern as a keyword", "k: {'|re': ['f.o']}\ncondition: k", {"a": "a fxo"}, TRUE),
    ("them without the hidden ones", "s: {a: x}\n_t: {b: y}\ncondition: 1 of them", {"b": "y"}, FALSE),
    ("several conditions are any", "s: {a: x}\nt: {b: y}\ncondition: [s, t]", {"b": "y"}, TRUE),
    ("windash", "s: {a|windash|contains: ' -x'}\ncondition: s", {"a": "cmd /x"}, TRUE),
    ("an hour", "s: {a|hour: 3}\ncondition: s", {"a": "2026-01-01T03:59:00Z"}, TRUE),
    ("another hour", "s: {a|hour: 3}\ncondition: s", {"a": "2026-01-01T04:00:00Z"}, FALSE),
    ("no time has no hour", "s: {a|hour: 3}\ncondition: s", {"a": "noon"}, FALSE),
    ("a dotted name", "s: {a.b.c: x}\ncondition: s", {"a": {"b": {"c": "x"}}}, TRUE),
    ("a key with dots", "s: {a.b.c: x}\ncondition: s", {"a.b": {"c": "x"}}, TRUE),
    ("through a list", "s: {a.b: x}\ncondition: s", {"a": [{"b": "w"}, {"b": "x"}]}, TRUE),
    ("not", "s: {a: x}\nf: {b: y}\ncondition: s and not f", {"a": "x", "b": "y"}, FALSE),
    ("not of a missing field", "s: {a: x}\nf: {b: y}\ncondition: s and not f", {"a": "x"}, TRUE),
    ("1 of", "s1: {a: x}\ns2: {b: y}\ncondition: 1 of s*", {"b": "y"}, TRUE),
    ("all of", "s1: {a: x}\ns2: {b: y}\ncondition: all of s*", {"b": "y"}, FALSE),
    ("all of them", "s1: {a: x}\ns2: {b: y}\ncondition: all of them", {"a": "x", "b": "y"}, TRUE),
    ("parentheses", "a: {a: x}\nb: {b: y}\nc: {c: z}\ncondition: a and (b or c)", {"a": "x", "c": "z"}, TRUE),
    ("keywords", "k: [needle]\ncondition: k", {"deep": {"er": ["hayNEEDLEstack"]}}, TRUE),
    ("less", "s: {a|lt: 5}\ncondition: s", {"a": 4}, TRUE),
    ("not less", "s: {a|lt: 5}\ncondition: s", {"a": 5}, FALSE),
    ("less or equal", "s: {a|lte: 5}\ncondition: s", {"a": 5}, TRUE),
    ("not less or equal", "s: {a|lte: 5}\ncondition: s", {"a": 6}, FALSE),
    ("greater or equal", "s: {a|gte: 5}\ncondition: s", {"a": 5}, TRUE),
    ("not greater or equal", "s: {a|gte: 5}\ncondition: s", {"a": 4}, FALSE),
    ("a boolean is no number", "s: {a|gte: 0}\ncondition: s", {"a": True}, FALSE),
    ("null is no number", "s: {a|gte: 0}\ncondition: s", {"a": None}, FALSE),
    ("a number after a boolean", "s: {a|gte: 0}\ncondition: s", {"a": [True, 7]}, TRUE),
    ("a number after a text", "s: {a|gte: 0}\ncondition: s", {"a": ["many", 7]}, TRUE),
    ("an integer without a float", "s: {a|gte: 0}\ncondition: s", {"a": ["9" * 400, 7]}, TRUE),
    ("neq of an equal number", "s: {a|neq: 5}\ncondition: s", {"a": 5}, FALSE),
    ("neq of an hour", "s: {a|hour|neq: 3}\ncondition: s", {"a": "2026-01-01T04:00:00Z"}, TRUE),
    ("neq of the same hour", "s: {a|hour|neq: 3}\ncondition: s", {"a": "2026-01-01T03:00:00Z"}, FALSE),
    ("before an hour", "s: {a|hour|lt: 3}\ncondition: s", {"a": "2026-01-01T03:00:00Z"}, FALSE),
    ("a timestamp after a text", "s: {a|hour: 3}\ncondition: s", {"a": ["noon", "2026-01-01T03:59:00Z"]}, TRUE),
    ("a number is no timestamp", "s: {a|hour: 3}\ncondition: s", {"a": [5, "2026-01-01T04:00:00Z"]}, FALSE),
    ("one address of a list", "s: {a|cidr: 10.0.0.0/8}\ncondition: s", {"a": ["192.0.2.1", "10.1.2.3"]}, TRUE),
    ("a number is in no network", "s: {a|cidr: 0.0.0.0/0}\ncondition: s", {"a": 5}, FALSE),
    ("an address of six is in no network of four", "s: {a|cidr: 10.0.0.0/8}\ncondition: s", {"a": "fd00::1"}, FALSE),
    ("starts with the value of another field", "s: {a|fieldref|startswith: b}\ncondition: s", {"a": "0123", "b": "01"}, TRUE),
    ("ends with the value of another field", "s: {a|fieldref|endswith: b}\ncondition: s", {"a": "0123", "b": "23"}, TRUE),
    ("does not end with the value of another field", "s: {a|fieldref|endswith: b}\ncondition: s", {"a": "0123", "b": "01"}, FALSE),
    ("one value of another field", "s: {a|fieldref: b}\ncondition: s", {"a": ["w", "x"], "b": ["x", "y"]}, TRUE),
    ("no value of another field", "s: {a|fieldref: b}\ncondition: s", {"a": ["w", "x"], "b": ["y", "z"]}, FALSE),
    ("a number as a keyword", "k: [4711]\ncondition: k", {"a": "hay", "b": "x4711y"}, TRUE),
    ("no number as a keyword", "k: [4711]\ncondition: k", {"a": "hay", "b": "x471"}, FALSE),
    ("no pattern as a keyword", "k: {'|re': ['f.o']}\ncondition: k", {"a": "a fo"}, FALSE),
    ("cased in a list", "s: {a|cased: Hello}\ncondition: s", {"a": [None, "x", "Hello"]}, TRUE),
    ("a star alone is any value", "s: {a: '*'}\ncondition: s", {"a": "x"}, TRUE),
    ("a star alone is no missing field", "s: {a: '*'}\ncondition: s", {"b": "x"}, FALSE),
    ("no keyword", "k: [needle]\ncondition: k", {"a": "hay"}, FALSE),
]  # fmt: skip


@pytest.mark.parametrize(("detection", "record", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])  # fmt: skip
def test_detection(tmp_path: Path, detection: str, record: Any, expected: bool) -> None:
    assert matches(rules(tmp_path, detection), record) is expected


def test_an_event_meets_only_rules_of_its_log_source(tmp_path: Path) -> None:
    which = rules(tmp_path, "s: {a: x}\ncondition: s")
    assert matches(which, {"a": "x"})
    assert not matches(which, {"a": "x"}, logsource={"product": "other"})
    assert matches(which, {"a": "x"}, logsource={"product": "sample", "service": "some"})


def test_own_fields_are_there_beside_those_of_the_record(tmp_path: Path) -> None:
    which = rules(tmp_path, "s: {user_id: alice, client_ip|cidr: 192.0.2.0/24}\ncondition: s")
    assert matches(which, {}, user_id="Alice", details={"ip_address": "192.0.2.7"})


FAULTS = [
    ("not YAML", "title: [", "2: YAML"),
    ("not a rule", "- a", "a rule is a mapping"),
    ("no id", "title: T\nlogsource: {product: p}\ndetection: {s: {a: x}, condition: s}", "needs an id"),
    ("no detection", HEAD, "2: .*detection"),
    ("a selection that is not there", HEAD + "detection: {s: {a: x}, condition: t}", "'t' not defined"),
    ("a modifier that nobody knows", HEAD + "detection: {s: {a|sideways: x}, condition: s}", "sideways"),
    ("placeholders", HEAD + "detection: {s: {'a|expand': '%x%'}, condition: s}", "the placeholder %x% is defined in no placeholders.yml"),
    ("look-behind", HEAD + "detection: {s: {'a|re': '(?<=x)y'}, condition: s}", "invalid perl operator"),
    ("a keyword that is no text", HEAD + "detection: {k: [true], condition: k}", "keywords of the kind SigmaBool"),
    ("an option that nobody knows", HEAD + "detection: {s: {a: x}, condition: s}\nauditflow: {colour: red}", "unknown key: colour"),
    ("a sentence about nothing", HEAD + "detection: {s: {a: x}, condition: s}\nauditflow: {sentence: '{mood}'}", "{mood} is not one of"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_faulty_rule_is_refused_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "rule.yml").write_text(text, "utf-8")
    with pytest.raises(RuleErrors, match=reason) as caught:
        load([tmp_path], lateness=0)
    assert str(caught.value).startswith(f"{tmp_path}/rule.yml:")


CORRELATION = """
title: Correlation
id: 99999999-2222-4333-8444-555555555555
correlation:
  type: {type}
  rules: [base]
  group-by: [user_id]
  timespan: 1m
  condition: {condition}
level: high
"""


@pytest.mark.parametrize(
    ("kind", "condition", "reason"),
    [
        ("value_count", "{gte: 3, field: [a, b]}", "not supported: value_count of several fields"),
        ("value_sum", "{gte: 3, field: a}", "not supported: correlations of the type value_sum"),
        ("temporal", "{gte: 2}", "2 of 1 rules can never match"),
        ("temporal_ordered", "{gte: 2}", "not supported: temporal_ordered conditions that do not"),
        (
            "temporal",
            "base and not base",
            "not supported: temporal conditions other than all rules",
        ),
        ("event_count", "{lt: 3}", "not supported: event_count conditions other than"),
        ("event_count", "{gte: 99999}", "threshold must be from 1 to 10000"),
    ],
)
def test_a_correlation_that_is_not_done_is_refused_by_name(
    tmp_path: Path, kind: str, condition: str, reason: str
) -> None:
    base = HEAD + "name: base\ndetection: {s: {a: x}, condition: s}\n---"
    text = base + CORRELATION.replace("{type}", kind).replace("{condition}", condition)
    (tmp_path / "rule.yml").write_text(text, "utf-8")
    with pytest.raises(RuleErrors, match=f"rule.yml:[0-9]+: {reason}"):
        load([tmp_path], lateness=0)


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text("- a", "utf-8")
    (tmp_path / "two.yml").write_text("title: [", "utf-8")
    with pytest.raises(RuleErrors) as caught:
        load([tmp_path], lateness=0)
    assert len(caught.value.faults) == 2


def test_an_id_is_used_once(tmp_path: Path) -> None:
    rule = HEAD + "detection: {s: {a: x}, condition: s}"
    (tmp_path / "one.yml").write_text(rule, "utf-8")
    (tmp_path / "two.yml").write_text(rule, "utf-8")
    with pytest.raises(RuleErrors, match=r"two\.yml.*already used at .*one\.yml:2"):
        load([tmp_path], lateness=0)


def test_a_rule_that_changes_has_another_revision(tmp_path: Path) -> None:
    (first,) = rules(tmp_path, "s: {a: x}\ncondition: s").rules
    (same,) = rules(tmp_path, "s: {a:   x}\ncondition: s   # a comment").rules
    (other,) = rules(tmp_path, "s: {a: y}\ncondition: s").rules
    assert first.ref.revision == same.ref.revision != other.ref.revision


def test_a_collection_completes_its_documents(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text("""
action: global
title: Global
logsource: {product: sample}
detection: {condition: s}
---
id: 11111111-2222-4333-8444-000000000001
detection: {s: {a: x}}
---
id: 11111111-2222-4333-8444-000000000002
detection: {s: {a: y}}
""")
    which = load([tmp_path], lateness=0)
    assert len(which.rules) == 2
    assert matches(which, {"a": "y"})
    assert not matches(which, {"a": "z"})
