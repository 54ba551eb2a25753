"""The report of the resources that differ from git, as Markdown. Pure."""

from collections.abc import Sequence

from gitops import markdown
from gitops.drift import Application


def report(applications: Sequence[Application]) -> str:
    """A Markdown table with a line for each resource that differs."""
    differences = [each for application in applications for each in application.differences]
    unknown = [each.name for each in applications if each.status == "Unknown"]
    lines = [f"{len(applications)} Applications, {len(differences)} resources differ from git.\n"]
    if unknown:
        names = ", ".join(markdown.code(name) for name in unknown)
        lines.append(f"Argo CD could not compare: {names}\n")
    if differences:
        rows = [
            (
                each.environment,
                markdown.code(each.application),
                markdown.code(each.resource),
                each.reason,
                "yes" if each.self_heal else "no",
            )
            for each in differences
        ]
        head = ("environment", "Application", "resource", "status", "corrected by Argo CD")
        lines.append(markdown.table(head, rows) + "\n")
    return "\n".join(lines)
