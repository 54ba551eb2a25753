"""Codes, recovery codes and the encryption of secrets."""

import base64
import re
import xml.etree.ElementTree as ET

import pytest

from event_audit_dashboard.access import totp

#: The secret and codes of RFC 6238, appendix B (SHA-1, the last 6 digits).
RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
BOX = totp.SecretBox("s" * 40)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert totp.matching_step(RFC_SECRET, code, seconds) == seconds // 30


@pytest.mark.parametrize(
    ("difference", "is_accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)]
)
def test_the_clock_may_differ_by_one_step(difference: int, is_accepted: bool) -> None:
    step = totp.matching_step(RFC_SECRET, "005924", 1234567890 + difference)
    assert (step == 1234567890 // 30) is is_accepted


@pytest.mark.parametrize(
    "code", ["", "05924", "0005924", "005924\n", "٠٠٥٩٢٤", "00592a", "-05924", "5924", " 05924"]
)
def test_other_texts_are_no_codes(code: str) -> None:
    assert totp.matching_step(RFC_SECRET, code, 1234567890) is None


def test_a_secret_is_readable_only_with_the_key_for_the_user() -> None:
    encrypted = BOX.encrypt("admin", RFC_SECRET)
    assert RFC_SECRET not in encrypted
    assert encrypted != BOX.encrypt("admin", RFC_SECRET)
    assert BOX.decrypt("admin", encrypted) == RFC_SECRET
    changed = encrypted[:-6] + ("AAAAA=" if encrypted[-6:] != "AAAAA=" else "BAAAA=")
    for box, user, text in (
        (BOX, "mallory", encrypted),
        (totp.SecretBox("t" * 40), "admin", encrypted),
        (BOX, "admin", changed),
        (BOX, "admin", ""),
        (BOX, "admin", "ä"),
        (BOX, "admin", "not base64!"),
    ):
        with pytest.raises(totp.UnreadableSecret):
            box.decrypt(user, text)


def test_recovery_codes_are_random_and_hashed() -> None:
    codes = totp.new_recovery_codes()
    assert len(set(codes)) == totp.RECOVERY_CODES
    assert all(re.fullmatch(r"([a-z2-7]{4}-){3}[a-z2-7]{4}", code) for code in codes)
    hashed = totp.recovery_hash(codes[0])
    assert hashed is not None
    assert totp.recovery_hash(f" {codes[0].upper().replace('-', ' ')} ") == hashed
    assert totp.recovery_hash(codes[1]) != hashed
    assert totp.recovery_hash("123456") is None
    assert totp.recovery_hash(codes[0] + "a") is None


def test_the_qr_code_is_an_svg_without_scripts_and_styles() -> None:
    drawn = totp.qr_code(RFC_SECRET, user='<b>"', environment="</svg><script>")
    names = {element.tag for element in ET.fromstring(drawn).iter()}
    assert names <= {"svg", "g", "path"}
    assert "style" not in drawn
