"""The body of a pull request."""

from gitops import body, markdown
from gitops.body import PromotionEvidence
from gitops.git import Entry
from gitops.inspection import Inspection
from gitops.manifests import Change
from gitops.promotion import Move, Promotion
from gitops.scans import Finding

from .forge import digest, release

NOTIFICATION = "notification-service"
BEFORE, AFTER = release(NOTIFICATION, "a" * 40, 1).pin, release(NOTIFICATION, "b" * 40, 2).pin
PROMOTION = Promotion(
    "dev", "staging", "promote/staging", "c" * 40, "d" * 40, (Move(BEFORE, AFTER),)
)


def test_summary_comes_first():
    text = body.promotion(PROMOTION, PromotionEvidence())
    assert text.startswith("Merging this deploys to **staging** the images that **dev** runs")
    assert f"| {NOTIFICATION} | `aaaaaaaaaaaa` | `bbbbbbbbbbbb` | `{digest(2)}` |" in text
    # missing checks are reported as missing
    for phrase in (
        "**Signatures:** not checked",
        "**Scans:** not run",
        "kustomize is not installed",
        "**Commits:** none",
    ):
        assert phrase in text


def test_image_without_an_earlier_scan_has_no_difference():
    findings = (Finding("CVE-1", "a", "1", "HIGH"),)
    text = body.promotion(
        PROMOTION,
        PromotionEvidence(after={NOTIFICATION: Inspection(NOTIFICATION, findings, signed=True)}),
    )
    assert f"| {NOTIFICATION} | not scanned | 1 high |  |  |" in text


def test_long_lists_are_shortened():
    findings = tuple(Finding(f"CVE-{number:02}", "a", "1", "LOW") for number in range(15))
    before = {NOTIFICATION: Inspection(NOTIFICATION, (), signed=True)}
    after = {NOTIFICATION: Inspection(NOTIFICATION, findings, signed=True)}
    entries = [Entry(f"{number:040}", "Ada", "a change") for number in range(body.COMMITS + 1)]
    text = body.promotion(
        PROMOTION, PromotionEvidence(before=before, after=after, commits={NOTIFICATION: entries})
    )
    assert "`CVE-09` and 5 more" in text
    assert f"{NOTIFICATION}: more than 50 commits" in text
    assert text.count("a change (Ada)") == body.COMMITS


def test_commit_subjects_are_escaped():
    entries = [Entry("1" * 40, "Eve", "``` </details> @somebody closes #1 <!--")]
    text = body.promotion(PROMOTION, PromotionEvidence(commits={NOTIFICATION: entries}))
    assert "````\n111111111111 ``` </details> @somebody closes #1 <!-- (Eve)\n````" in text


def test_long_body_is_cut_between_parts():
    entries = [Entry("1" * 40, "Eve", "x" * 2000) for _ in range(50)]
    changes = [Change("ConfigMap a", "changed", ("+a",))]
    text = body.promotion(
        PROMOTION, PromotionEvidence(commits={NOTIFICATION: entries}, changes=changes)
    )
    assert len(text) <= markdown.LIMIT + 100
    assert text.endswith("The rest is too long to show; run `gitops diff` to see it.\n")
    assert text.count("<details>") == text.count("</details>")


def test_empty_rendered_difference():
    assert "**Rendered difference:** none." in body.promotion(
        PROMOTION, PromotionEvidence(changes=())
    )
