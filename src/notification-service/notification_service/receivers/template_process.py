"""Renders a template of our users in a process with limits.

A template can loop, and can build a text of any size. The sandbox does not limit that. The process
reads the values from its standard input, and has no secrets in its environment. Its arguments are
the folder, the format, the maximum length and the maximum CPU time.
"""

import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from notification_service.receivers.delivery import DeliveryError
from notification_service.receivers.template_environment import (
    TEMPLATE_ERRORS,
    Format,
    environment_of,
    first_line,
    with_links,
)

#: Maximum memory of the process: the heap of Python with its libraries, and the texts (MiB).
MEBIBYTES: Final = 96
#: Maximum CPU time of the process (seconds).
CPU_SECONDS: Final = 5
#: Maximum time of the process, also if the machine is busy (seconds).
SECONDS: Final = 30.0


class Result(Struct, frozen=True):
    """The rendered body, or why there is none."""

    body: str = ""
    error: str | None = None


def render(folder: Path, form: Format, values: dict[str, Any], *, max_length: int) -> str:
    """Render the template of a format. The body is cut after ``max_length`` characters.

    Raises:
        DeliveryError: the template has an error, or exceeds a limit.
    """
    arguments = [str(folder), form, str(max_length), str(CPU_SECONDS)]
    try:
        ended = subprocess.run(  # noqa: S603 - no shell, our own module
            [sys.executable, "-m", __name__, *arguments],
            input=msgspec.json.encode(values),
            capture_output=True,
            env={},
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeliveryError(
            f"the template {form}.j2 failed: it needs more than {SECONDS:.0f} s"
        ) from None
    except OSError as error:
        raise DeliveryError(f"the template {form}.j2 failed: {first_line(error)}") from None
    result = _result(ended)
    if result.error is not None:
        raise DeliveryError(f"the template {form}.j2 failed: {result.error}")
    return result.body


def _result(ended: "subprocess.CompletedProcess[bytes]") -> Result:
    if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return Result(error=f"it needs more than {CPU_SECONDS} s of CPU time")
    try:
        return msgspec.json.decode(ended.stdout, type=Result)
    except msgspec.MsgspecError:
        return Result(error=f"its process ended with {ended.returncode}")


def main() -> None:
    """Render a template, and write the result."""
    limit = MEBIBYTES * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    folder, form, max_length, cpu_seconds = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds), int(cpu_seconds) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    values = with_links(msgspec.json.decode(sys.stdin.buffer.read()))
    try:
        template = environment_of(form, Path(folder)).get_template(f"{form}.j2")  # type: ignore[arg-type]
        result = Result(body=template.render(values)[: int(max_length)])
    except TEMPLATE_ERRORS as error:
        result = Result(error=first_line(error))
    except MemoryError:
        result = Result(error=f"it needs more than {MEBIBYTES} MiB of memory")
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
