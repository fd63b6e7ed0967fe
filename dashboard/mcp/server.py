"""The server: MCP over standard input and output, one tool per row of tools.py."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from client import Dashboard, DashboardError
from collectors import VERSION

from . import truncation
from .tools import TOOLS, UNTRUSTED, ReadTool

NAME = "deepseek-dashboard"
INSTRUCTIONS = (
    "Reads the runs, curves, logs, stacks and GPUs of training runs. Begin with the tool runs. For a slow stretch, find its from and to "
    f"with points, then ask blame, flame and source. Answers are small and say what they leave out. {UNTRUSTED}"
)
BY_NAME = {tool.name: tool for tool in TOOLS}
CHECKS = {tool.name: Draft202012Validator(tool.schema) for tool in TOOLS}
log = logging.getLogger(__name__)


def serve(dashboard: Callable[[], Dashboard]) -> None:
    """Until standard input ends. `dashboard` is asked for one at each question, so that it may come later; it raises DashboardError."""
    anyio.run(_serve, dashboard)


async def _serve(dashboard: Callable[[], Dashboard]) -> None:
    async def list_tools(_: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[tool_of(tool) for tool in TOOLS])

    async def call_tool(_: ServerRequestContext[Any], asked: CallToolRequestParams) -> CallToolResult:
        said, is_error = await anyio.to_thread.run_sync(answered, dashboard, asked.name, asked.arguments or {})
        return CallToolResult(content=[TextContent(type="text", text=said)], is_error=is_error)

    server = Server(NAME, version=VERSION, instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def tool_of(tool: ReadTool) -> Tool:
    reads = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    return Tool(name=tool.name, description=f"{tool.help} {UNTRUSTED}", input_schema=tool.schema, annotations=reads)


def answered(dashboard: Callable[[], Dashboard], name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
    """A small text, and whether it is an error: then it is one sentence."""
    if (tool := BY_NAME.get(name)) is None:
        return truncation.sentence(f"there is no tool {name!r}; there are: {', '.join(BY_NAME)}"), True
    if wrong := problem(name, arguments):
        return wrong, True
    try:
        return tool.answer(dashboard(), arguments), False
    except DashboardError as error:
        return truncation.sentence(error), True
    except Exception as error:  # no answer may end the server; its output says where
        log.exception("%s failed", name)
        return truncation.sentence(
            f"the answer to {name} could not be made ({type(error).__name__}); the server's output says where"
        ), True


def problem(name: str, arguments: dict[str, Any]) -> str:
    """What is wrong with the arguments; "" where they fit the tool's schema."""
    error = best_match(CHECKS[name].iter_errors(arguments))
    if error is None:
        return ""
    where = ".".join(map(str, error.absolute_path)) or "the arguments:"
    wrong = error.message.removeprefix(repr(error.instance)).strip()  # what was given may be long
    return f"{truncation.sentence(f'{where} {wrong}')}; the tool's schema lists what {name} takes"
