"""Snapshots: the copies of the bases that staging and prod use."""

import pytest

from gitops import body, layout, snapshot
from gitops.body import PromotionEvidence
from gitops.errors import DowngradeError, SnapshotError
from gitops.promotion import Promotion

from .forge import Clone, Forge, git
from .test_promotion import NOTIFICATION, deploy, promote

APP = NOTIFICATION
BASE = f"apps/{APP}/base"
COMPONENT = "apps/components/ingress"


def files(texts: dict[str, str]) -> snapshot.Reader:
    return lambda path: texts[path].encode() if path in texts else None


def test_inputs_contain_each_file_that_kustomize_reads():
    read = files(
        {
            "a/kustomization.yaml": """
resources: [one.yaml, ../b, "https://example.org/remote?ref=v1"]
components: [../c]
patches: [{path: patch.yaml}, {patch: "- op: remove"}]
replacements: [{path: r.yaml}]
configMapGenerator: [{files: [key=files/value.txt, other.txt], envs: [x.env]}]
openapi: {path: schema.json}
""",
            "b/kustomization.yaml": "resources: [b.yaml]",
            "c/kustomization.yaml": "patchesStrategicMerge: [c.yaml]",
            **dict.fromkeys(
                ("a/one.yaml", "a/patch.yaml", "a/r.yaml", "a/files/value.txt", "a/other.txt",
                 "a/x.env", "a/schema.json", "b/b.yaml", "c/c.yaml", "a/unused.yaml"), "",
            ),
        }
    )  # fmt: skip
    assert sorted(snapshot.inputs(read, ["a"])) == [
        "a/files/value.txt", "a/kustomization.yaml", "a/one.yaml", "a/other.txt", "a/patch.yaml",
        "a/r.yaml", "a/schema.json", "a/x.env", "b/b.yaml", "b/kustomization.yaml", "c/c.yaml",
        "c/kustomization.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("resources: [missing.yaml]", "does not exist"),
        ("resources: [../../outside]", "outside of the repository"),
        ("resources: [/etc/passwd]", "outside of the repository"),
        ("- a list", "not a kustomization"),
        ("{", "not YAML"),
    ],
)
def test_invalid_kustomization_is_refused(text: str, reason: str):
    with pytest.raises(SnapshotError, match=reason):
        snapshot.inputs(files({"a/kustomization.yaml": text}), ["a"])


def overlay(environment: str, *components: str) -> dict[str, str]:
    base = "../../base" if environment == "dev" else f"snapshot/{BASE}"
    used = [f"snapshot/{component}" for component in components]
    text = f"resources: [{base}]\ncomponents: {['release', *used]}\n"
    return {f"{layout.overlay(APP, environment)}/kustomization.yaml": text}


def bases(text: str) -> dict[str, str]:
    return {
        f"{BASE}/kustomization.yaml": "resources: [deployment.yaml]\n",
        f"{BASE}/deployment.yaml": f"{text}\n",
        f"{COMPONENT}/kustomization.yaml": f"kind: Component\nnameSuffix: {text}\n",
    }


@pytest.fixture
def overlays(ada: Clone) -> Clone:
    """prod uses a component that staging does not use."""
    ada.commit(
        {**bases("first"), **overlay("dev"), **overlay("staging"), **overlay("prod", COMPONENT)},
        "add overlays",
    )
    ada.push()
    return ada


def merged(ada: Clone, bot: Clone, source: str, target: str, at: str | None = None) -> Promotion:
    promoted = promote(bot, source, target, at)
    ada.pull()
    ada.merge(f"promote/{target}")
    return promoted


def copied(forge: Forge, environment: str) -> str:
    return forge.show(f"{layout.snapshot(APP, environment)}/{BASE}/deployment.yaml")


def test_base_moves_from_dev_to_staging_to_prod(overlays: Clone, bot: Clone, forge: Forge):
    first = forge.head()
    promoted = merged(overlays, bot, "dev", "staging")
    assert promoted.moves == ()
    assert promoted.configuration.apps == (APP,)
    assert copied(forge, "staging") == "first"
    top = layout.snapshot(APP, "staging")
    assert forge.show(f"{top}/revision") == first
    # the component that only prod uses is already in staging's snapshot
    assert "first" in forge.show(f"{top}/{COMPONENT}/kustomization.yaml")

    # a change of the base reaches neither staging nor, from staging, prod
    overlays.commit(bases("second"), "change the base")
    overlays.push()
    merged(overlays, bot, "staging", "prod")
    assert copied(forge, "prod") == "first"
    assert forge.show(f"{layout.snapshot(APP, 'prod')}/revision") == first

    merged(overlays, bot, "dev", "staging")
    assert (copied(forge, "staging"), copied(forge, "prod")) == ("second", "first")
    merged(overlays, bot, "staging", "prod")
    assert copied(forge, "prod") == "second"
    assert promote(bot, "staging", "prod").files == {}


def test_images_and_bases_move_in_one_commit(overlays: Clone, bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION)
    promoted = promote(bot)
    assert promoted.commit
    touched = git(forge.directory, "diff", "--name-only", f"{promoted.commit}^", promoted.commit)
    assert layout.release(NOTIFICATION, "staging") in touched
    assert f"{layout.snapshot(APP, 'staging')}/{BASE}/deployment.yaml" in touched
    assert forge.log("promote/staging")[0] == (
        f"Promote {NOTIFICATION} with configuration from dev to staging"
    )
    assert f"**Bases:** 4 files of {APP} change." in body.promotion(promoted, PromotionEvidence())


def test_deleted_file_of_a_base_is_deleted(overlays: Clone, bot: Clone, forge: Forge):
    merged(overlays, bot, "dev", "staging")
    git(overlays.directory, "rm", "-q", f"{BASE}/deployment.yaml")
    overlays.commit({f"{BASE}/kustomization.yaml": "resources: []\n"}, "delete a file")
    overlays.push()
    merged(overlays, bot, "dev", "staging")
    top = layout.snapshot(APP, "staging")
    listed = git(forge.directory, "ls-tree", "-r", "--name-only", "main", f"{top}/")
    assert f"{top}/{BASE}/deployment.yaml" not in listed


def test_older_base_is_not_promoted(overlays: Clone, bot: Clone, forge: Forge):
    early = forge.head()
    overlays.commit(bases("second"), "change the base")
    overlays.push()
    merged(overlays, bot, "dev", "staging")
    with pytest.raises(DowngradeError, match=APP):
        promote(bot, at=early)


def test_open_promotion_of_a_base_is_kept(overlays: Clone, bot: Clone, forge: Forge):
    first = promote(bot)
    overlays.commit({"docs/a.md": "elsewhere"})
    overlays.push()
    assert promote(bot).commit == first.commit
    overlays.commit(bases("second"), "change the base")
    overlays.push()
    assert promote(bot).commit != first.commit


def test_unknown_component_is_an_error(overlays: Clone, bot: Clone):
    overlays.commit(overlay("prod", "apps/components/unknown"), "use an unknown component")
    overlays.push()
    with pytest.raises(SnapshotError, match=r"components/unknown/kustomization\.yaml"):
        promote(bot)


def test_command_writes_the_working_tree(overlays: Clone):
    top = overlays.directory / layout.snapshot(APP, "prod")
    output = run_snapshot(overlays, "--env", "staging", "--env", "prod")
    assert "prod: 3 files written" in output
    file = top / BASE / "deployment.yaml"
    assert file.read_text() == "first\n"

    overlays.commit(bases("second"), "change the base")
    assert "prod: 0 files written" in run_snapshot(overlays, "--env", "prod", "--missing")
    assert file.read_text() == "first\n"
    (top / "unused.yaml").write_text("")
    assert "prod: 3 files written" in run_snapshot(overlays, "--env", "prod")
    assert file.read_text() == "second\n"
    assert not (top / "unused.yaml").exists()


def run_snapshot(clone: Clone, *arguments: str) -> str:
    from click.testing import CliRunner

    from gitops.cli import main

    result = CliRunner().invoke(main, ["-C", str(clone.directory), "snapshot", *arguments])
    assert result.exit_code == 0, result.output
    return result.output
