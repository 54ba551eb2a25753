"""Logs: one JSON object per line, with the correlation id and the trace id of a request."""

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO

import structlog
from opentelemetry import trace
from structlog.typing import EventDict


def configure(service: str, *, level: str = "INFO") -> None:
    """Write all logs of this process, including those of libraries, to standard output.

    Every line has ``timestamp``, ``level``, ``event`` and ``service``. A line inside a span has
    ``trace_id`` and ``span_id``. It has ``correlation_id`` if ``structlog.contextvars`` has it.
    """

    def add_service(_: Any, __: str, line: EventDict) -> EventDict:
        line["service"] = service
        return line

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _add_trace,
        structlog.processors.format_exc_info,
    ]
    stream = sys.stdout
    # Our own lines do not pass through the standard library's logging, which costs more than all
    # other parts of a line.
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        logger_factory=lambda name="": _Writer(name, stream),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # pika logs each connection attempt with several lines. Our adapters log the failure once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    # The exporter of traces logs each of its requests.
    logging.getLogger("urllib3").setLevel(logging.WARNING)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


class _Writer:
    """Writes rendered lines of one module."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def write(self, line: str) -> None:
        # One call for the line and its end, so that lines of several threads are not mixed. A log
        # that cannot be written, for example to a closed pipe, must not fail the work.
        with suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = write


def _add_trace(_: Any, __: str, line: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = trace.format_trace_id(context.trace_id)
        line["span_id"] = trace.format_span_id(context.span_id)
    return line
