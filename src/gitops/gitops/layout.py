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


def promotion_branch(environment: str) -> str:
    """The branch of a promotion. A newer promotion to the same target replaces an older one."""
    return f"promote/{environment}"


def rollback_branch(environment: str) -> str:
    """The branch of a rollback."""
    return f"rollback/{environment}"
