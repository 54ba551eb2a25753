"""The text of a pull request."""

from gitops import body, markdown
from gitops.body import Evidence
from gitops.git import Entry
from gitops.inspection import Inspection
from gitops.manifests import Change
from gitops.promotion import Move, Promotion
from gitops.scans import Finding

from .forge import digest, release

ONE = "notification-service"
BEFORE, AFTER = release(ONE, "a" * 40, 1).pin, release(ONE, "b" * 40, 2).pin
MADE = Promotion("dev", "staging", "promote/staging", "c" * 40, "d" * 40, (Move(BEFORE, AFTER),))


def test_the_shortest_comes_first():
    text = body.promotion(MADE, Evidence())
    assert text.startswith("Merging this lets **staging** run what **dev** runs")
    assert f"| {ONE} | `aaaaaaaaaaaa` | `bbbbbbbbbbbb` | `{digest(2)}` |" in text
    # and nothing is claimed that nobody looked at
    for said in (
        "not checked here",
        "none were made here",
        "there was no kustomize",
        "none between the two",
    ):
        assert said in text


def test_what_was_never_scanned_before_has_no_difference():
    findings = (Finding("CVE-1", "a", "1", "HIGH"),)
    text = body.promotion(MADE, Evidence(after={ONE: Inspection(ONE, findings, signed=True)}))
    assert f"| {ONE} | not scanned | 1 high |  |  |" in text


def test_many_are_a_number():
    findings = tuple(Finding(f"CVE-{number:02}", "a", "1", "LOW") for number in range(15))
    seen = {ONE: Inspection(ONE, (), signed=True)}, {ONE: Inspection(ONE, findings, signed=True)}
    entries = [Entry(f"{number:040}", "Ada", "a change") for number in range(body.COMMITS + 1)]
    text = body.promotion(MADE, Evidence(before=seen[0], after=seen[1], commits={ONE: entries}))
    assert "`CVE-09` and 5 more" in text
    assert f"{ONE}: 50 and more commits" in text
    assert text.count("a change (Ada)") == body.COMMITS


def test_subjects_of_commits_stay_text():
    entries = [Entry("1" * 40, "Eve", "``` </details> @jojees closes #1 <!--")]
    text = body.promotion(MADE, Evidence(commits={ONE: entries}))
    assert "````\n111111111111 ``` </details> @jojees closes #1 <!-- (Eve)\n````" in text


def test_what_is_too_long_goes_whole():
    entries = [Entry("1" * 40, "Eve", "x" * 2000) for _ in range(50)]
    changes = [Change("ConfigMap a", "changed", ("+a",))]
    text = body.promotion(MADE, Evidence(commits={ONE: entries}, changes=changes))
    assert len(text) <= markdown.LIMIT + 100
    assert text.endswith("The rest is too long to be shown here; `gitops diff` shows it.\n")
    assert text.count("<details>") == text.count("</details>")


def test_a_rendered_difference_of_none():
    assert "**Rendered difference:** none." in body.promotion(MADE, Evidence(changes=()))
