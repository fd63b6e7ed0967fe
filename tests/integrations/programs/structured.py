"""Six lines of a structured logger, the last with a traceback: structured.py LIBRARY, on standard output."""

from __future__ import annotations

import logging
import sys


def fail() -> None:
    raise ValueError("bad label\nsecond line")


def with_structlog() -> None:
    import structlog

    processors = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(processors=processors)
    log = structlog.get_logger()
    log.info("loading data", path="/data/train", shards=12)
    for step in range(3):
        log.info("step done", step=step, loss=2.5 - 0.1 * step)
    log.warning("retrying shard", shard=7, request={"id": "abc", "tries": 2})
    try:
        fail()
    except ValueError:
        log.exception("step failed", step=9)


def with_loguru() -> None:
    from loguru import logger

    logger.remove()
    logger.add(sys.stdout, serialize=True)
    logger.info("loading data from {}", "/data/train")
    for step in range(3):
        logger.bind(step=step).info("step {} loss {:.2f}", step, 2.5 - 0.1 * step)
    logger.warning("retrying shard 7")
    try:
        fail()
    except ValueError:
        logger.exception("step failed")


def with_pythonjsonlogger() -> None:
    from pythonjsonlogger.json import JsonFormatter

    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter("{asctime}{levelname}{name}{message}", style="{"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])
    log = logging.getLogger("train")
    log.info("loading data", extra={"path": "/data/train", "shards": 12})
    for step in range(3):
        log.info("step done", extra={"step": step, "loss": 2.5 - 0.1 * step})
    log.warning("retrying shard", extra={"request": {"id": "abc", "tries": 2}})
    try:
        fail()
    except ValueError:
        log.exception("step failed")


if __name__ == "__main__":
    {"structlog": with_structlog, "loguru": with_loguru, "pythonjsonlogger": with_pythonjsonlogger}[sys.argv[1]]()
