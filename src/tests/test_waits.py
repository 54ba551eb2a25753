"""Timing decides no test: a wait of a test for a server, a process or a thread has a long limit.

A wait ends as soon as its condition holds, so a long limit costs nothing. A short limit fails the
test on a machine that is busy with other work.
"""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1]
#: The shortest limit of a wait, in seconds.
SHORTEST = 60
#: Calls whose first or named argument limits a wait for something that the test expects.
WAITS = {
    "acquire", "communicate", "create_connection", "eventually", "join", "publish", "result", "run",
    "Client", "stop", "urlopen", "wait_ready",
}  # fmt: skip
#: The functions of WAITS whose first argument is the limit.
POSITIONAL = {"acquire", "communicate", "join", "result"}
LIMITS = {"seconds", "timeout"}
#: These programs repeat attempts that have short limits.
NOT_CHECKED = {"bench", "converge", "e2e"}


def short_waits(text: str) -> list[str]:
    """The waits of a test file with a limit that a busy machine can exceed, as source code."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if name not in WAITS:
            continue
        limits = [keyword.value for keyword in node.keywords if keyword.arg in LIMITS]
        if name in POSITIONAL and isinstance(node.func, ast.Attribute):
            limits += node.args[:1]
        for limit in limits:
            match limit:
                case ast.Constant(value=int() | float() as seconds) if seconds < SHORTEST:
                    found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize(
    "wait",
    ["eventually(done, seconds=20)", "thread.join(10)", "httpx.Client(timeout=5)"],
)
def test_a_short_wait_is_found(wait: str) -> None:
    assert short_waits(wait) == [f"line 1: {wait}"]


def test_a_long_wait_and_a_join_of_texts_are_allowed() -> None:
    assert short_waits('eventually(done, seconds=60); ", ".join(names); thread.join()') == []


def test_no_wait_of_a_test_is_short() -> None:
    folders = [*SRC.glob("*/tests"), SRC / "tests"]
    files = {file for folder in folders for file in folder.rglob("*.py")}
    checked = sorted(
        file
        for file in files
        if not NOT_CHECKED.intersection(file.parts) and file != Path(__file__)
    )
    assert len(checked) > 200
    assert {
        str(file.relative_to(SRC)): waits
        for file in checked
        if (waits := short_waits(file.read_text("utf-8")))
    } == {}
