"""Structured logs: JSON lines, with what would be a secret taken out."""

import logging
import re
import sys
from pathlib import Path
from typing import Any

import structlog

SECRET = re.compile(
    r"x(?:ox[a-z]|app)[-.][\w.-]+"
    r"|https?://[^\s\"'\\/]+/(?:commands|actions|services|workflows)/[^\s\"'\\]+"
    r"|(?<=ticket=)[^\s\"'\\&]+"
)
"""Slack's tokens, response_urls and sockets' tickets: whoever has one can write or read in the bot's name."""


def configure_logging(file: Path | None = None) -> None:
    """Send this program's logs and its libraries' warnings to ``file``, or to standard error."""
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
    stream = file.open("a") if file else sys.stderr
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*processors, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
                masked,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("bot").setLevel(logging.INFO)
    logging.getLogger("lifecycle").setLevel(logging.INFO)


def silence_logging() -> None:
    """For commands that say themselves what is wrong: libraries log the same once more."""
    logging.basicConfig(handlers=[logging.NullHandler()], level=logging.CRITICAL, force=True)


def masked(_logger: Any, _method: str, line: Any) -> str:
    """The finished line without secrets, wherever in it they stood."""
    return SECRET.sub("***", line)
