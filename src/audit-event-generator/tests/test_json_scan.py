"""The scanner of JSON documents."""

import pytest

from audit_event_generator.ingest import json_scan
from audit_event_generator.ingest.json_scan import ScanError


@pytest.mark.parametrize(
    "document",
    [b"[1] [2]", b"[1", b"1]", b"[[1]", b"[1]]", b"", b"[", b"{}", b'["]', b'["a\\"]', b"[1] x"],
)
def test_document_that_is_not_an_array_is_an_error(document: bytes) -> None:
    with pytest.raises(ScanError):
        json_scan.split_array(document)


@pytest.mark.parametrize("document", [b"{1: 2}", b'{"a"}', b'{"a" "b": 1}', b"[]", b'{"a": 1} {}'])
def test_document_that_is_not_an_object_is_an_error(document: bytes) -> None:
    with pytest.raises(ScanError):
        json_scan.split_object(document)


def test_number_of_tokens_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_scan, "MAX_TOKENS", 10)

    assert json_scan.split_array(b"[1,2,3,4,5,6,7]") == [b"%d" % n for n in range(1, 8)]
    with pytest.raises(ScanError, match="more than 10 tokens"):
        json_scan.split_array(b"[" + b"1," * 10 + b"1]")
    with pytest.raises(ScanError, match="more than 10 tokens"):
        json_scan.prune(b"[" * 11, max_depth=2)


def test_deep_values_become_null() -> None:
    assert json_scan.prune(b'{"a":[[1],"]"],"b":{}}', max_depth=2) == b'{"a":[null,"]"],"b":{}}'
