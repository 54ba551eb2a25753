"""A process that runs tests against mutations. It forks, so that a run imports only our modules.

``python -m src.devtools.mutation.server ROOT FOLDER`` reads requests from stdin and writes one
answer for each to stdout, as lines of JSON. FOLDER is for temporary files.
"""

import contextlib
import importlib
import importlib.machinery
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from types import CodeType
from typing import Any, TextIO, TypedDict


class Request(TypedDict):
    """``file`` is the absolute path of the module, ``mutant`` the file with its mutated source."""

    file: str
    mutant: str
    tests: list[str]
    seconds: float


class Answer(TypedDict):
    """The exit code of pytest, or a negative signal number, and the end of the output."""

    code: int
    output: str


def serve(root: Path, folder: Path, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until the input ends."""
    os.chdir(root)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    for line in requests:
        answers.write(json.dumps(_run(json.loads(line), folder)) + "\n")
        answers.flush()


def _run(request: Request, folder: Path) -> Answer:
    output, imported = folder / "output", folder / "imported"
    child = os.fork()
    if child == 0:
        code = 70  # an internal error of the tool
        try:
            os.setsid()
            signal.setitimer(signal.ITIMER_REAL, request["seconds"])  # the signal ends the process
            _redirect(output)
            code = _run_pytest(request, folder)
            imported.write_text("\n".join(sorted(_third_party_modules())), "utf-8")
        except BaseException:  # noqa: BLE001 - the exit code reports it
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):  # processes that the tests started
        os.killpg(child, signal.SIGKILL)
    if imported.exists():
        _import(imported.read_text("utf-8").split())
        imported.unlink()
    lines = output.read_text("utf-8", "replace").splitlines()
    return Answer(code=os.waitstatus_to_exitcode(status), output="\n".join(lines[-15:]))


def _redirect(output: Path) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115


def _run_pytest(request: Request, folder: Path) -> int:
    import pytest  # noqa: PLC0415 - the root of the tests is the working directory

    _replace(request["file"], Path(request["mutant"]).read_text("utf-8"))
    options = [
        "-q",
        "-x",
        "--no-header",
        "--tb=no",
        "--assert=plain",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    return int(
        pytest.main(
            [*options, "--hypothesis-seed=0", f"--basetemp={folder / 'tmp'}", *request["tests"]]
        )
    )


def _replace(file: str, source: str) -> None:
    """Load ``source`` instead of a module's file."""
    loader: Any = importlib.machinery.SourceFileLoader
    get_code = loader.get_code

    def mutated_code(self: Any, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        if os.path.realpath(path) == file:
            return compile(source, path, "exec", dont_inherit=True)
        code: CodeType | None = get_code(self, fullname)
        return code

    loader.get_code = mutated_code


def _third_party_modules() -> set[str]:
    """The imported modules that no mutation changes: installed packages, standard library."""
    return {
        name
        for name, module in list(sys.modules.items())
        if (file := getattr(module, "__file__", None))
        and ("site-packages" in file or file.startswith(sys.base_prefix))
    }


def _import(names: list[str]) -> None:
    for name in names:
        if name not in sys.modules:
            with contextlib.suppress(Exception, SystemExit):  # a program that ends at its import
                importlib.import_module(name)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), sys.stdin, sys.stdout)
