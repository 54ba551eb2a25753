"""Charts are rendered at their pinned versions, and values that they ignore are an error.

The tests use the real helm, with a chart in a local repository.
"""

import functools
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from gitops import chart_values, charts
from gitops.charts import Chart, ChartError
from gitops.cli import main

from . import programs
from .forge import ROOT, Clone

#: As kube-prometheus-stack does for cAdvisor: the first interval hides the second one.
MONITOR = """
kind: Monitor
metadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}
spec:
  interval: {{ .Values.interval | default .Values.otherInterval }}
  replicas: {{ .Values.replicas }}
  kubernetes: {{ .Capabilities.KubeVersion.Version }}
  ports: "{{ range .Values.ports }}{{ .number }} {{ end }}"
  token: {{ randAlphaNum 20 }}
"""
DEFAULTS = "interval: ''\notherInterval: 10s\nreplicas: 1\nports: []\n"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def helm() -> str:
    return programs.helm()


@pytest.fixture(scope="module")
def repository(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a chart repository with the versions 1.0.0 and 1.1.0 of the chart monitor."""
    folder = tmp_path_factory.mktemp("charts")
    source = folder / "monitor"
    (source / "templates").mkdir(parents=True)
    (source / "values.yaml").write_text(DEFAULTS)
    for version, more in (("1.0.0", ""), ("1.1.0", "  extra: true\n")):
        (source / "Chart.yaml").write_text(f"apiVersion: v2\nname: monitor\nversion: {version}\n")
        (source / "templates/monitor.yaml").write_text(MONITOR + more)
        subprocess.run((helm, "package", source, "-d", folder), check=True, capture_output=True)
    subprocess.run((helm, "repo", "index", folder), check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def application(repository: str, version: str = "1.0.0", **helm_source: object) -> str:
    source = {"repoURL": repository, "chart": "monitor", "targetRevision": version}
    return yaml.safe_dump(
        {
            "kind": "Application",
            "metadata": {"name": "stack"},
            "spec": {
                "sources": [{**source, "helm": {"releaseName": "monitor", **helm_source}}],
                "destination": {"namespace": "monitoring"},
            },
        }
    )


def files(repository: str, version: str = "1.0.0", **values: object) -> dict[str, str]:
    return {
        "clusters/stack.yaml": application(
            repository, version, valueFiles=["$values/monitoring/values/stack.yaml"]
        ),
        "monitoring/values/stack.yaml": yaml.safe_dump(values),
    }


def run(clone: Clone, helm: str, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(
        main, ["-C", str(clone.directory), "charts", "--helm", helm, *arguments]
    )
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_value_that_another_value_hides_is_refused(ada: Clone, helm: str, repository: str) -> None:
    ada.commit(files(repository, interval="60s", otherInterval="30s", replicas=1))
    code, output = run(ada, helm)
    assert code == 1
    assert "charts ignore these values" in output
    assert output.rstrip().endswith("    stack: otherInterval")


@pytest.mark.parametrize(
    ("values", "ignored"),
    [
        ({"otherInterval": "30s"}, []),
        ({"replicas": 1}, []),  # equal to the default
        ({"replicaCount": 2}, ["replicaCount"]),  # misspelt
        ({"ports": [{"number": 1}, {"number": 2, "name": "b"}]}, ["ports[1].name"]),
        ({"ports": []}, []),
        ({"global": {}}, []),
        ({"replicas": None}, []),  # removes the default
    ],
)
def test_values_without_an_effect_are_found(
    values: dict[str, Any], ignored: list[str], ada: Clone, helm: str, repository: str
) -> None:
    ada.commit(files(repository, **values))
    code, output = run(ada, helm)
    assert [line.removeprefix("    stack: ") for line in output.splitlines() if line.startswith("    ")] == ignored  # fmt: skip
    assert code == bool(ignored), output


def test_new_version_shows_its_rendered_difference(
    ada: Clone, helm: str, repository: str, tmp_path: Path
) -> None:
    base = ada.commit(files(repository, replicas=2))
    ada.commit(files(repository, "1.1.0", replicas=3))

    code, output = run(ada, helm, "--base", base, "--out", str(tmp_path))

    assert code == 0, output
    assert "### stack: 1.0.0 → 1.1.0, 1 objects differ" in output
    assert "-  replicas: 2" in output
    assert "+  replicas: 3" in output
    assert "+  extra: true" in output
    assert (tmp_path / "charts.md").read_text() in output


def test_charts_are_rendered_for_the_kubernetes_version_of_the_nodes(
    ada: Clone, helm: str, repository: str
) -> None:
    nodes = "infra/ansible/roles/k3s_binary/defaults/main.yaml"
    base = ada.commit({nodes: (ROOT / nodes).read_text()})
    ada.commit(files(repository, replicas=2))
    version = yaml.safe_load((ROOT / nodes).read_text())["k3s_binary_version"].partition("+")[0]

    code, output = run(ada, helm, "--base", base)

    assert code == 0, output
    assert f"+  kubernetes: {version}\n" in output


def test_only_changed_charts_are_rendered(ada: Clone, helm: str) -> None:
    """The repository of the unchanged chart does not exist."""
    base = ada.commit(files("http://127.0.0.1:1", replicas=2))
    ada.commit({"clusters/README.md": "A change.\n"})
    assert run(ada, helm, "--base", base) == (0, "No chart changes.\n")


def test_chart_that_does_not_exist_is_an_error(ada: Clone, helm: str, repository: str) -> None:
    ada.commit(files(repository, "9.9.9", replicas=2))
    code, output = run(ada, helm)
    assert code == 1
    assert "helm pull monitor" in output
    assert "9.9.9" in output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "1.*"}, "targetRevision '1.*' is not valid"),
        ({"repository": "--post-renderer=/bin/sh"}, "repoURL '--post-renderer=/bin/sh' is not"),
        ({"repository": "http://example.org"}, "repoURL 'http://example.org' is not valid"),
        ({"releaseName": "-x"}, "releaseName '-x' is not valid"),
        ({"parameters": [{"name": "a", "value": "b"}]}, "helm.parameters is not supported"),
        ({"valueFiles": ["$values/missing.yaml"]}, "the value file missing.yaml does not exist"),
        ({"valueFiles": ["values.yaml"]}, "does not start with $values/"),
    ],
)
def test_source_that_cannot_be_checked_is_refused(changes: dict[str, object], message: str) -> None:
    content = application(**{"repository": "https://example.org", **changes})  # type: ignore[arg-type]
    with pytest.raises(ChartError, match=r"^Application stack: ") as error:
        charts.of_files([("clusters/stack.yaml", content.encode())], lambda _: None)
    assert message in str(error.value)


def test_all_charts_of_this_repository_are_found() -> None:
    """Each Application with a chart, and once more with the values that a cluster can add."""
    found = ours()
    assert {chart.application for chart in found} == {
        "cert-manager", "cloudnative-pg", "dex", "external-dns", "external-secrets", "keda",
        "kyverno", "monitoring-cost", "monitoring-stack", "monitoring-stack with optional values",
    }  # fmt: skip
    stack = next(chart for chart in found if chart.application == "monitoring-stack")
    assert stack.skip_crds
    assert stack.values["kubelet"]["serviceMonitor"]["interval"] == "60s"
    read = {path for chart in found for path in map(chart_values.text, chart_values.leaves(chart.values))}  # fmt: skip
    assert "grafana.grafana.ini.auth.generic_oauth.use_pkce" in read


def test_every_value_file_belongs_to_a_chart() -> None:
    text = "\n".join(file.read_text() for file in (ROOT / "clusters").rglob("*.yaml"))
    for file in (ROOT / "monitoring/values").glob("*.yaml"):
        assert f"monitoring/values/{file.name}" in text


def ours() -> tuple[Chart, ...]:
    paths = sorted((ROOT / "clusters").rglob("*.yaml"))
    return charts.of_files(
        [(str(path), path.read_bytes()) for path in paths], lambda name: (ROOT / name).read_bytes()
    )
