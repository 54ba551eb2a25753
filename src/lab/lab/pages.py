"""Runs the commands of a page of the documentation, word for word."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from . import paths, shell
from .cluster import Cluster

_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def commands(page: str, heading: str) -> list[str]:
    """Return the blocks of shell commands of a section.

    :param heading: a text that occurs once and starts the section. The next heading, or the next
        paragraph that starts with bold text, ends it.
    """
    text = (paths.REPOSITORY / page).read_text("utf-8")
    _, start, section = text.partition(heading)
    if not start:
        raise ValueError(f"{page} does not contain {heading!r}")
    return _BLOCK.findall(re.split(r"^(?:#|\*\*)", section, maxsplit=1, flags=re.MULTILINE)[0])


def run(
    cluster: Cluster, script: str, *, check: bool = True, env: Mapping[str, str] | None = None
) -> str:
    """Run commands with bash as cluster-admin. Returns what they print.

    :param check: stop at the first command that fails.
    :raises CommandFailed: with ``check``, a command failed.
    """
    folder = Path(cluster.kubectl_program).parent
    variables = {
        **(env or {}),
        "KUBECONFIG": str(cluster.kube.kubeconfig),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
    }
    options = ("-eu", "-o", "pipefail") if check else ()
    return shell.run("bash", *options, "-c", f"{script}\ntrue", env=variables)
