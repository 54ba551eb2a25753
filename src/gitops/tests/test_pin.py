"""The file that pins an image."""

import pytest

from gitops import layout, pin
from gitops.errors import InvalidPinError
from gitops.pin import Pin

from .forge import ROOT, ZERO_DIGEST, digest, image

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SERVICE = "notification-service"


def a_pin(tag: str = COMMIT) -> Pin:
    return Pin(service=SERVICE, image=image(SERVICE), tag=tag, digest=digest(1))


@pytest.mark.parametrize("tag", [COMMIT, "1" * 40, "12e" + "4" * 37, "0" * 40, pin.UNRELEASED])
def test_written_pin_can_be_read(tag):
    assert pin.read(pin.write(a_pin(tag)), path="x") == a_pin(tag)


@pytest.mark.parametrize("service", layout.SERVICES)
@pytest.mark.parametrize("environment", layout.ENVIRONMENTS)
def test_pins_of_this_repository_are_valid(service, environment):
    file = ROOT / layout.release(service, environment)
    found = pin.read(file.read_bytes(), path=str(file))
    assert found.service == service
    # ignore the comment that there is no image yet
    text = "\n".join(line.split(" #")[0] for line in file.read_text().splitlines())
    assert text + "\n" == pin.write(found).decode()


GOOD = pin.write(a_pin()).decode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not a Component"),
        ("a: [", "not YAML"),
        (GOOD.replace("Component", "Kustomization"), "not a Component"),
        (f"{GOOD}patches: []\n", "not a Component with exactly one image"),
        (f"{GOOD}- name: b\n", "exactly one image"),
        (GOOD.replace(COMMIT, "v1.2.3"), "newTag is 'v1.2.3', which is not a commit id"),
        (GOOD.replace(COMMIT, "1" * 40), "newTag is not text"),
        (GOOD.replace(digest(1), "sha256:12"), "digest is 'sha256:12', which is not valid"),
        (GOOD.replace("docker.io/", "docker.io/Upper/"), "newName"),
        (GOOD.replace("  digest", "  other"), "must have exactly the keys"),
    ],
)  # fmt: skip
def test_invalid_pin_is_refused(content, reason):
    with pytest.raises(InvalidPinError, match=reason) as raised:
        pin.read(content.encode(), path="apps/x/kustomization.yaml")
    assert str(raised.value).startswith("apps/x/kustomization.yaml: ")


def test_unreleased_pin():
    assert not Pin(service=SERVICE, image="a/b", tag=pin.UNRELEASED, digest=ZERO_DIGEST).released
    assert a_pin().reference == f"{image(SERVICE)}:{COMMIT}@{digest(1)}"
