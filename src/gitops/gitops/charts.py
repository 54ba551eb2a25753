"""The Helm charts that Applications install, with their values in this repository. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from gitops.errors import GitOpsError

Values = dict[str, Any]
#: Reads a file of the repository. None: it does not exist.
Reader = Callable[[str], bytes | None]

#: An Application's annotation: the value files that a cluster can add, separated by spaces.
OPTIONAL_VALUES: Final = "auditflow.io/optional-values"
#: The settings of a Helm source that this program renders as Argo CD does.
_SUPPORTED: Final = {"releaseName", "skipCrds", "valueFiles", "valuesObject"}
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_VERSION: Final = re.compile(r"v?\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
#: Plain HTTP is for tests on the same machine.
_REPOSITORY: Final = re.compile(
    r"(https://|oci://|http://(127\.0\.0\.1|localhost)(?=[:/]|$))[A-Za-z0-9.:/_-]*"
)


class ChartError(GitOpsError):
    """An Application names a chart that cannot be rendered."""

    def __init__(self, application: str, reason: str) -> None:
        super().__init__(f"Application {application}: {reason}")
        self.application = application


@dataclass(frozen=True)
class Chart:
    """A chart of an Application at its pinned version.

    Attributes:
        application: the name of the Application, and of a variant with optional values.
        values: all value files and the values of the Application, merged as Helm does.
    """

    application: str
    repository: str
    name: str
    version: str
    release: str
    namespace: str
    skip_crds: bool
    values: Values


def of_files(files: Iterable[tuple[str, bytes]], read: Reader) -> tuple[Chart, ...]:
    """The charts of all Applications in these YAML files, sorted by Application.

    An Application with optional values counts a second time, with these values.

    Raises:
        ChartError: a chart has no pinned version, or its values cannot be read.
    """
    found = [
        chart
        for path, content in files
        for document in _documents(path, content)
        for chart in _of_application(document, read)
    ]
    return tuple(sorted(found, key=lambda chart: chart.application))


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> Values:
    """The values of both. Maps are merged; any other value of ``second`` replaces the first."""
    result = dict(first)
    for key, value in second.items():
        both_are_maps = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both_are_maps else value
    return result


def _documents(path: str, content: bytes) -> list[dict[str, Any]]:
    if b"kind: Application" not in content:
        return []
    try:
        documents = list(yaml.safe_load_all(content))
    except yaml.YAMLError as error:
        raise GitOpsError(f"{path} is not valid YAML: {error}") from None
    return [
        document
        for document in documents
        if isinstance(document, dict) and document.get("kind") == "Application"
    ]


def _of_application(document: dict[str, Any], read: Reader) -> list[Chart]:
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    name = str(metadata.get("name"))
    sources = spec.get("sources") or [spec.get("source") or {}]
    optional = str((metadata.get("annotations") or {}).get(OPTIONAL_VALUES, "")).split()
    namespace = str((spec.get("destination") or {}).get("namespace") or "default")
    found = []
    for source in sources:
        if "chart" not in source:
            continue
        chart = _chart(name, source, namespace, read)
        found.append(chart)
        if optional:
            extra = merged(chart.values, _files(name, optional, read))
            found.append(Chart(**{**vars(chart), "application": f"{name} with optional values",
                                  "values": extra}))  # fmt: skip
    return found


def _chart(application: str, source: Mapping[str, Any], namespace: str, read: Reader) -> Chart:
    helm = source.get("helm") or {}
    if unknown := sorted(helm.keys() - _SUPPORTED):
        raise ChartError(
            application,
            f"helm.{unknown[0]} is not supported. Use valueFiles or valuesObject, so that the"
            " values can be checked",
        )
    fields = {
        "chart": (str(source["chart"]), _NAME),
        "targetRevision": (str(source.get("targetRevision")), _VERSION),
        "repoURL": (str(source.get("repoURL")), _REPOSITORY),
        "releaseName": (str(helm.get("releaseName") or application), _NAME),
        "namespace": (namespace, _NAME),
    }
    for field, (text, pattern) in fields.items():
        if not pattern.fullmatch(text):
            raise ChartError(application, f"{field} {text!r} is not valid for a pinned chart")
    files = helm.get("valueFiles") or []
    paths = [str(file).removeprefix("$values/") for file in files]
    if wrong := [file for file in files if not str(file).startswith("$values/")]:
        raise ChartError(application, f"the value file {wrong[0]!r} does not start with $values/")
    values = merged(_files(application, paths, read), helm.get("valuesObject") or {})
    return Chart(
        application=application,
        repository=fields["repoURL"][0],
        name=fields["chart"][0],
        version=fields["targetRevision"][0],
        release=fields["releaseName"][0],
        namespace=namespace,
        skip_crds=bool(helm.get("skipCrds")),
        values=values,
    )


def _files(application: str, paths: Iterable[str], read: Reader) -> Values:
    values: Values = {}
    for path in paths:
        content = read(path)
        if content is None:
            raise ChartError(application, f"the value file {path} does not exist")
        try:
            document = yaml.safe_load(content) or {}
        except yaml.YAMLError as error:
            raise ChartError(application, f"{path} is not valid YAML: {error}") from None
        if not isinstance(document, dict):
            raise ChartError(application, f"{path} is not a map")
        values = merged(values, document)
    return values
