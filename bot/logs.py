"""Structured logs: JSON lines, with what would be a secret taken out."""

import logging
import re
import sys
from pathlib import Path
from typing import Any

import structlog

SECRET = re.compile(r"x(?:ox[a-z]|app)[-.][\w-]+|https://hooks\.slack\.com/\S+")
"""Slack's tokens and response_urls: whoever has one can write in the bot's name."""


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
        masked,
    ]
    structlog.configure(
        processors=[*processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("bot").setLevel(logging.INFO)
    logging.getLogger("lifecycle").setLevel(logging.INFO)


def masked(_logger: Any, _method: str, event: Any) -> Any:
    """Every text of a log line without secrets."""
    return {key: SECRET.sub("***", value) if isinstance(value, str) else value for key, value in event.items()}
