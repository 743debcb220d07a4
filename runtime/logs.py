"""Structured logs on standard error: text for people, JSON lines for machines."""

from __future__ import annotations

import logging
import sys
from typing import Final, TextIO

import structlog

from runtime.metrics import Counter

_LOST: Final = Counter("drover_runtime_log_writes_failed", "Writes to the log that failed, as on a full disk.")


class _Enduring:
    """A stream whose disk may be full: a log that cannot be written ends no process."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, if it can be written."""
        try:
            return self._stream.write(text)
        except OSError:
            _LOST.inc()
            return len(text)

    def flush(self) -> None:
        """Flushes, if it can be written."""
        try:
            self._stream.flush()
        except OSError:
            _LOST.inc()


def configure(level: str, *, json: bool, process: str) -> None:
    """Sets up structlog, and the standard library's loggers behind it. `level` is debug, info, warning or error."""
    number = logging.getLevelNamesMapping()[level.upper()]
    enduring: TextIO = _Enduring(sys.stderr)  # type: ignore[assignment]  # all that loggers use
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: list[structlog.typing.Processor] = (
        [
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ]
        if json
        # Local variables may be secrets: a traceback shows where, never with what.
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(enduring),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(enduring)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderer,
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.root.handlers = [handler]
    # Libraries speak up only when something is wrong.
    logging.root.setLevel(max(number, logging.WARNING))
