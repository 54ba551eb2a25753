"""The techniques of ATT&CK that the tags of rules name."""

import pytest

from notification_service import techniques


@pytest.mark.parametrize("text", ["T1110", "t1110", "T1110.001", "t1110.001"])
def test_an_identifier_is_a_technique(text: str) -> None:
    assert techniques.is_technique(text)


@pytest.mark.parametrize(
    "text", ["", "1110", "T111", "T11100", "T1110.1", "T1110.0011", "T1110.", "xT1110", "T1110\n",
             "T\u0661110", "attack.t1110"],
)  # fmt: skip
def test_other_texts_are_no_techniques(text: str) -> None:
    assert not techniques.is_technique(text)


def test_a_technique_has_a_tag_in_lower_case() -> None:
    assert techniques.tag_of("T1110.001") == "attack.t1110.001"


def test_tags_name_techniques_in_their_order() -> None:
    tags = ["attack.t1110.001", "attack.credential-access", "cve.2021.44228", "t1098",
            "ATTACK.T1078", "attack.t1003"]  # fmt: skip
    assert techniques.named_by(tags) == ["T1110.001", "T1078", "T1003"]


def test_a_sub_technique_is_part_of_its_technique() -> None:
    tags = ["attack.t1110.001", "attack.t1110.003", "attack.t1078"]
    assert techniques.of_tags(tags) == {"T1110", "T1110.001", "T1110.003", "T1078"}
    assert techniques.of_tags([]) == set()
