"""Text of others in Markdown of ours: no mention, link or markup of theirs comes alive. Pure."""

import re
from collections.abc import Iterable, Sequence

from gitops.manifests import Change

#: GitHub takes comments and bodies of 65,536 characters; the rest is for what is said around it.
LIMIT = 60_000


def fenced(lines: Iterable[str], language: str = "") -> str:
    """A block of code, fenced longer than any fence in it."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def code(text: str) -> str:
    """A word or two as code, also in a table."""
    plain = re.sub(r"[`|\s]+", " ", text).strip()
    return f"`{plain}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def folded(summary: str, content: str) -> str:
    """A section that opens on a click."""
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def difference(changes: Sequence[Change], *, limit: int) -> str:
    """A rendered difference, cut between objects when it is longer than ``limit`` characters."""
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
