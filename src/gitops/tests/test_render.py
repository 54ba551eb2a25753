"""The rendered difference of each environment."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitops import layout, manifests, markdown, pin, render
from gitops.cli import main
from gitops.errors import ProgramMissingError
from gitops.render import RenderError

from .forge import ROOT, Clone, Programs, release
from .programs import kustomize

NOTIFICATION = "notification-service"
#: A fake kustomize that prints the objects in the folder, or fails if the folder is marked broken.
KUSTOMIZE = """
[ "$1" = build ] || exit 64
grep -q broken "$2/kustomization.yaml" && { echo "Error: $2/kustomization.yaml is broken" >&2; exit 1; }
cat "$2"/*.object.yaml
"""


def an_object(name: str, value: str, kind: str = "ConfigMap") -> str:
    return f"---\nkind: {kind}\nmetadata: {{name: {name}, namespace: here}}\ndata: {{a: {value}}}\n"


def folder(environment: str, **files: str) -> dict[str, str]:
    path = f"apps/{NOTIFICATION}/envs/{environment}"
    return {f"{path}/kustomization.yaml": "resources: []\n"} | {
        f"{path}/{name}.object.yaml": content for name, content in files.items()
    }


@pytest.fixture
def fake_kustomize(programs: Programs) -> Path:
    return programs.add("kustomize", KUSTOMIZE)


def diff(clone: Clone, base: str, *arguments: str, expect: int = 0) -> str:
    result = CliRunner().invoke(
        main, ["-C", str(clone.directory), "diff", "--base", base, *arguments]
    )
    assert result.exit_code == expect, result.output
    return result.output


def test_changed_environments_are_shown(ada: Clone, fake_kustomize: Path, tmp_path: Path):
    ada.commit(
        {
            **folder("dev", a=an_object("first", "1"), b=an_object("second", "1")),
            **folder("prod", a=an_object("first", "1")),
        }
    )
    base = ada.head
    (ada.directory / f"apps/{NOTIFICATION}/envs/dev/b.object.yaml").unlink()
    ada.commit({**folder("dev", a=an_object("first", "2"), c=an_object("third", "1"))})

    text = diff(ada, base, "--out", str(tmp_path))

    assert text.startswith("### dev: 1 changed, 1 added, 1 removed\n")
    assert "prod" not in text
    assert "changed: <code>ConfigMap here/first</code>" in text
    assert "-  a: 1\n+  a: 2" in text
    assert json.loads((tmp_path / "environments.json").read_text()) == ["dev"]
    assert (tmp_path / "difference.md").read_text() == text


def test_comment_changes_nothing(ada: Clone, fake_kustomize: Path):
    base = ada.commit(folder("dev", a=an_object("first", "1")))
    ada.commit(
        {f"apps/{NOTIFICATION}/envs/dev/a.object.yaml": "# a comment\n" + an_object("first", "1")}
    )
    assert diff(ada, base) == "No environment changes: the rendered manifests are the same.\n"


def test_folder_that_does_not_render_is_an_error(ada: Clone, fake_kustomize: Path):
    base = ada.commit(folder("dev", a=an_object("first", "1")))
    ada.commit({f"apps/{NOTIFICATION}/envs/dev/kustomization.yaml": "broken\n"})
    output = diff(ada, base, expect=1)
    assert f"apps/{NOTIFICATION}/envs/dev does not render" in output
    # the temporary folder is removed from the message
    assert f"Error: apps/{NOTIFICATION}/envs/dev/kustomization.yaml is broken" in output
    # a change that fixes the folder is shown
    broken = ada.head
    ada.commit(folder("dev"))
    assert "### dev: 1 added" in diff(ada, broken)


def test_values_of_secrets_are_masked(ada: Clone, fake_kustomize: Path):
    base = ada.commit(folder("dev", a=an_object("key", "c2VjcmV0", kind="Secret")))
    ada.commit(
        folder(
            "dev",
            a=an_object("key", "b3RoZXI=", kind="Secret"),
            b=an_object("new", "bmV3", kind="Secret"),
        )
    )
    text = diff(ada, base)
    assert "Secret here/new" in text
    for value in ("c2VjcmV0", "b3RoZXI=", "bmV3"):
        assert value not in text


def test_long_difference_is_cut_between_objects(ada: Clone, fake_kustomize: Path):
    base = ada.commit(folder("dev"))
    ada.commit(
        folder(
            "dev",
            a="".join(an_object(f"name-{number:03}", "x" * 900) for number in range(100)),
        )
    )
    text = diff(ada, base)
    assert len(text) < markdown.LIMIT
    assert text.count("<details>") == text.count("</details>") > 10
    assert text.count("```") % 2 == 0
    assert "more, too long to show here" in text


def test_untrusted_text_is_escaped():
    evil = [
        manifests.Change(
            "ConfigMap <script>/@everyone", "changed", ("+```", "+@somebody ![x](http://evil)")
        )
    ]
    text = markdown.difference(evil, limit=10_000)
    assert "<script>" not in text
    assert "````diff\n+```\n+@somebody ![x](http://evil)\n````" in text
    assert markdown.code("a`b|c\nd") == "`a b c d`"


def test_render_writes_the_manifests(ada: Clone, fake_kustomize: Path, tmp_path: Path):
    ada.commit(folder("dev", a=an_object("first", "1")))
    result = CliRunner().invoke(
        main, ["-C", str(ada.directory), "render", "--out", str(tmp_path / "r")]
    )
    assert result.exit_code == 0, result.output
    assert "name: first" in (tmp_path / "r/dev.yaml").read_text()
    assert (tmp_path / "r/prod.yaml").read_text() == ""


def test_without_kustomize(ada: Clone, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ProgramMissingError, match="kustomize or kubectl is not on PATH"):
        render.Renderer(ada.repository, render.program())


def test_kubectl_is_used_without_kustomize(programs: Programs, monkeypatch: pytest.MonkeyPatch):
    programs.add("kubectl", "exit 0")
    monkeypatch.setenv("PATH", str(programs.folder))
    assert render.program() == (str(programs.folder / "kubectl"), "kustomize")
    assert render.program("/opt/kustomize") == ("/opt/kustomize", "build")


def test_this_repository_renders_and_a_pin_reaches_the_pods(ada: Clone):
    """The current manifests with a new image in prod."""
    for tree in render._TREES:
        shutil.rmtree(ada.directory / tree, ignore_errors=True)
        shutil.copytree(ROOT / tree, ada.directory / tree)
    base = ada.commit({})
    pinned = release(NOTIFICATION, "ab" * 20, 5).pin
    ada.commit({layout.release(NOTIFICATION, "prod"): pin.write(pinned).decode()})
    text = diff(ada, base, "--kustomize", kustomize())
    # the Deployment (with its init container) and the migration Job
    assert text.startswith("### prod: 2 changed\n")
    assert text.count(f"image: {pinned.reference}") == 3


def test_slow_rendering_is_aborted(ada: Clone, programs: Programs, monkeypatch: pytest.MonkeyPatch):
    programs.add("kustomize", "exec sleep 60")
    monkeypatch.setattr(render, "_TIMEOUT_SECONDS", 0.2)
    ada.commit(folder("dev"))
    with render.Renderer(ada.repository, render.program()) as renderer, pytest.raises(RenderError):
        renderer.objects("HEAD", "dev")
