"""Paths and branch names of the repository. Every path is computed. Pure."""

from typing import Final

#: The services that have their own image. Each is a folder of ``src`` and of ``apps``.
SERVICES: Final = (
    "audit-event-generator",
    "audit-log-analysis",
    "event-audit-dashboard",
    "notification-service",
)
#: The folders of ``src`` that have tests.
SUITES: Final = ("auditflow", "provisioning", *SERVICES, "local", "gitops", "tests")
#: The environments, in the order of promotion.
ENVIRONMENTS: Final = ("dev", "staging", "prod")
#: The default prefix of an image's name: ``<registry>/<owner>/<prefix><service>``.
IMAGE_PREFIX: Final = "auditflow-"


def release(service: str, environment: str) -> str:
    """The file that pins the image of a service in an environment."""
    return f"apps/{service}/envs/{environment}/release/kustomization.yaml"


def overlay(app: str, environment: str) -> str:
    """The folder that Argo CD renders. ``app`` is a folder below ``apps``, such as data/redis."""
    return f"apps/{app}/envs/{environment}"


def snapshot(app: str, environment: str) -> str:
    """The copy of the bases and components that an environment uses. dev has no copy."""
    return f"{overlay(app, environment)}/snapshot"


def app_of(path: str, environment: str) -> str | None:
    """The app whose overlay of the environment contains the file, or None."""
    folder, separator, _ = path.partition(f"/envs/{environment}/")
    return folder.removeprefix("apps/") if separator and folder.startswith("apps/") else None


def later(environment: str) -> tuple[str, ...]:
    """The environment and all environments after it."""
    return ENVIRONMENTS[ENVIRONMENTS.index(environment) :]


def promotion_branch(environment: str) -> str:
    """The branch of a promotion. A newer promotion to the same target replaces an older one."""
    return f"promote/{environment}"


def rollback_branch(environment: str) -> str:
    """The branch of a rollback."""
    return f"rollback/{environment}"
