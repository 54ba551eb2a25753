"""What a change makes of each environment."""

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

ONE = "notification-service"
#: A kustomize that gives what is in the folder, and fails where somebody wrote that it should.
KUSTOMIZE = """
[ "$1" = build ] || exit 64
grep -q broken "$2/kustomization.yaml" && { echo "Error: $2/kustomization.yaml is broken" >&2; exit 1; }
cat "$2"/*.object.yaml
"""


def an_object(name: str, value: str, kind: str = "ConfigMap") -> str:
    return f"---\nkind: {kind}\nmetadata: {{name: {name}, namespace: here}}\ndata: {{a: {value}}}\n"


def folder(environment: str, **files: str) -> dict[str, str]:
    place = f"apps/{ONE}/envs/{environment}"
    return {f"{place}/kustomization.yaml": "resources: []\n"} | {
        f"{place}/{name}.object.yaml": content for name, content in files.items()
    }


@pytest.fixture
def stand_in(programs: Programs) -> Path:
    return programs.add("kustomize", KUSTOMIZE)


def diff(clone: Clone, base: str, *arguments: str, expect: int = 0) -> str:
    done = CliRunner().invoke(
        main, ["-C", str(clone.directory), "diff", "--base", base, *arguments]
    )
    assert done.exit_code == expect, done.output
    return done.output


def test_each_environment_shows_what_it_gets(ada: Clone, stand_in: Path, tmp_path: Path):
    ada.commit(
        {
            **folder("dev", a=an_object("one", "1"), b=an_object("two", "1")),
            **folder("prod", a=an_object("one", "1")),
        }
    )
    base = ada.head
    (ada.directory / f"apps/{ONE}/envs/dev/b.object.yaml").unlink()
    ada.commit({**folder("dev", a=an_object("one", "2"), c=an_object("three", "1"))})

    text = diff(ada, base, "--out", str(tmp_path))

    assert text.startswith("### dev: 1 changed, 1 added, 1 removed\n")
    assert "prod" not in text
    assert "changed: <code>ConfigMap here/one</code>" in text
    assert "-  a: 1\n+  a: 2" in text
    assert json.loads((tmp_path / "environments.json").read_text()) == ["dev"]
    assert (tmp_path / "difference.md").read_text() == text


def test_a_change_that_renders_the_same_is_none(ada: Clone, stand_in: Path):
    base = ada.commit(folder("dev", a=an_object("one", "1")))
    ada.commit({f"apps/{ONE}/envs/dev/a.object.yaml": "# a remark\n" + an_object("one", "1")})
    assert diff(ada, base) == "No environment changes: each renders as before.\n"


def test_what_does_not_render_is_an_error(ada: Clone, stand_in: Path):
    base = ada.commit(folder("dev", a=an_object("one", "1")))
    ada.commit({f"apps/{ONE}/envs/dev/kustomization.yaml": "broken\n"})
    said = diff(ada, base, expect=1)
    assert f"apps/{ONE}/envs/dev does not render" in said
    # without the folder that nobody else has
    assert f"Error: apps/{ONE}/envs/dev/kustomization.yaml is broken" in said
    # and what mends it is shown, as all new
    broken = ada.head
    ada.commit(folder("dev"))
    assert "### dev: 1 added" in diff(ada, broken)


def test_secrets_are_not_shown(ada: Clone, stand_in: Path):
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


def test_a_long_difference_is_cut_between_objects(ada: Clone, stand_in: Path):
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


def test_others_text_stays_text():
    evil = [
        manifests.Change(
            "ConfigMap <script>/@everyone", "changed", ("+```", "+@jojees ![x](http://evil)")
        )
    ]
    text = markdown.difference(evil, limit=10_000)
    assert "<script>" not in text
    assert "````diff\n+```\n+@jojees ![x](http://evil)\n````" in text
    assert markdown.code("a`b|c\nd") == "`a b c d`"


def test_render_writes_what_argo_cd_would_apply(ada: Clone, stand_in: Path, tmp_path: Path):
    ada.commit(folder("dev", a=an_object("one", "1")))
    done = CliRunner().invoke(
        main, ["-C", str(ada.directory), "render", "--out", str(tmp_path / "r")]
    )
    assert done.exit_code == 0, done.output
    assert "name: one" in (tmp_path / "r/dev.yaml").read_text()
    assert (tmp_path / "r/prod.yaml").read_text() == ""


def test_without_kustomize(ada: Clone, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ProgramMissingError, match="kustomize or kubectl is not on PATH"):
        render.Renderer(ada.repository, render.program())


def test_kubectl_will_do(programs: Programs, monkeypatch: pytest.MonkeyPatch):
    programs.add("kubectl", "exit 0")
    monkeypatch.setenv("PATH", str(programs.folder))
    assert render.program() == (str(programs.folder / "kubectl"), "kustomize")
    assert render.program("/opt/kustomize") == ("/opt/kustomize", "build")


def test_this_repository_renders_and_a_pin_reaches_the_pods(ada: Clone):
    """The tree as it is here, with a new image in prod."""
    for tree in ("apps", "clusters"):
        shutil.rmtree(ada.directory / tree, ignore_errors=True)
        shutil.copytree(ROOT / tree, ada.directory / tree)
    base = ada.commit({})
    pinned = release(ONE, "ab" * 20, 5).pin
    ada.commit({layout.release(ONE, "prod"): pin.write(pinned).decode()})
    text = diff(ada, base, "--kustomize", kustomize())
    # the service (and what waits for the schema in its pods), its migration, and the job that makes
    # the secrets
    assert text.startswith("### prod: 3 changed\n")
    assert text.count(f"image: {pinned.reference}") == 4


def test_a_folder_that_takes_for_ever(
    ada: Clone, programs: Programs, monkeypatch: pytest.MonkeyPatch
):
    programs.add("kustomize", "exec sleep 60")
    monkeypatch.setattr(render, "_SECONDS", 0.2)
    ada.commit(folder("dev"))
    with render.Renderer(ada.repository, render.program()) as renderer, pytest.raises(RenderError):
        renderer.objects("HEAD", "dev")
