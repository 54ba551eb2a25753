"""Where things are in the repository. Every path is computed, none is looked up. Pure."""

from typing import Final

#: The services that have an image of their own, which are folders of ``src`` and of ``apps``.
SERVICES: Final = (
    "audit-event-generator",
    "audit-log-analysis",
    "event-audit-dashboard",
    "notification-service",
)
#: The folders of ``src`` that have tests.
SUITES: Final = ("auditflow", "provisioning", *SERVICES, "local", "gitops", "tests")
#: In the order in which a change meets them.
ENVIRONMENTS: Final = ("dev", "staging", "prod")
#: An image's name is the organisation, this and the service, unless said otherwise.
IMAGE_PREFIX: Final = "auditflow-"


def release(service: str, environment: str) -> str:
    """The one file that says which image of a service an environment runs."""
    return f"apps/{service}/envs/{environment}/release/kustomization.yaml"


def promotion_branch(environment: str) -> str:
    """One branch per target, so that a newer promotion takes the place of an older one."""
    return f"promote/{environment}"


def rollback_branch(environment: str) -> str:
    """Where a way back waits for its review."""
    return f"rollback/{environment}"
