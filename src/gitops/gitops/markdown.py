"""Put untrusted text into Markdown so that its mentions, links and markup are not active. Pure."""

import re
from collections.abc import Iterable, Sequence

from gitops.manifests import Change

#: Maximum number of characters of a body. GitHub accepts 65,536; the rest is for the surroundings.
LIMIT = 60_000


def fenced(lines: Iterable[str], language: str = "") -> str:
    """A code block whose fence is longer than every fence in its content."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def code(text: str) -> str:
    """Inline code that is also valid in a table cell."""
    plain = re.sub(r"[`|\s]+", " ", text).strip()
    return f"`{plain}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. The cells must already be Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def folded(summary: str, content: str) -> str:
    """A collapsed section."""
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def difference(changes: Sequence[Change], *, limit: int) -> str:
    """A rendered difference of at most about ``limit`` characters, cut between two objects."""
    shown: list[str] = []
    left = limit
    for count, change in enumerate(changes):
        block = folded(
            f"{change.kind}: <code>{_html(change.name)}</code>", fenced(change.lines, "diff")
        )
        if len(block) > left:
            rest = changes[count:]
            shown.append(_rest(rest))
            break
        left -= len(block)
        shown.append(block)
    return "\n\n".join(shown)


def _rest(changes: Sequence[Change]) -> str:
    names = [f"{change.kind}: {change.name}" for change in changes[:50]]
    more = [f"and {len(changes) - 50} more"] if len(changes) > 50 else []
    head = f"{len(changes)} more, too long to show here (`gitops diff` shows them all):"
    return f"{head}\n\n{fenced([*names, *more])}"


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
