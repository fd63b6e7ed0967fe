"""The API described for programs, with the type of every answer and of the live socket's messages, and for users as a plain page."""

from __future__ import annotations

import html
import inspect
import threading
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from starlette.routing import BaseRoute
from typing_extensions import TypedDict

from collectors.records import LogLine, ProgressBar, Searched

from ..network import path_to
from .answers import ErrorAnswer, answer_type
from .curves import LiveRow
from .findings import FindingRow
from .machine import StateAnswer
from .runs import EventJson, RunRow

NOT_OURS = ("HTTPValidationError", "ValidationError")  # the framework's form of an error, which no answer has
REFERENCE = "#/components/schemas/{model}"
SERIALIZED: Literal["serialization"] = "serialization"


# The messages of the live socket `WS /api/v1/live`, which has no route in OpenAPI: they are among its schemas.


class StateMessage(StateAnswer):
    """About once a second. `runs` are those alive or subscribed to, of `runs_total`."""

    type: Literal["state"]
    runs: list[RunRow]
    runs_total: int


class DeltaMessage(TypedDict):
    """The subscribed data committed up to `cursor`."""

    type: Literal["delta"]
    cursor: int
    series: list[LiveRow]
    lines: list[LogLine]
    events: list[EventJson]
    bars: list[ProgressBar]  # those that changed
    findings: list[FindingRow]  # ... also those of the machine


class ResetMessage(TypedDict):
    """The cursor is older than the stored deltas: read the points again."""

    type: Literal["reset"]
    cursor: int


class RefusedMessage(TypedDict):
    """The message was not a subscription; the socket is closed."""

    type: Literal["refused"]
    error: Searched


LiveMessage: TypeAlias = StateMessage | DeltaMessage | ResetMessage | RefusedMessage
MESSAGES = (StateMessage, DeltaMessage, ResetMessage, RefusedMessage)


_BUILDING = threading.Lock()


def openapi_of(app: FastAPI, routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """FastAPI's description, with the answers of these routes and the messages of the live socket among its schemas. Built at the first request, so that the start costs nothing, and once, whoever else asks meanwhile."""
    with _BUILDING:
        if app.openapi_schema is None:
            described = FastAPI.openapi(app)
            ours = [route for route in routes if isinstance(route, APIRoute) and route.include_in_schema]
            answers = {route.unique_id: found for route in ours if (found := answer_type(route.endpoint)) is not None}
            inputs = [(route, SERIALIZED, TypeAdapter(found)) for route, found in answers.items()]
            inputs += [("", SERIALIZED, TypeAdapter(ErrorAnswer))]
            inputs += [(other.__name__, SERIALIZED, TypeAdapter(other)) for other in MESSAGES]
            schemas, definitions = TypeAdapter.json_schemas(
                inputs, ref_template=REFERENCE, schema_generator=AnswerSchemas
            )
            described.setdefault("components", {}).setdefault("schemas", {}).update(definitions.get("$defs", {}))
            for operation in (each for methods in described["paths"].values() for each in methods.values()):
                operation["responses"].pop("422", None)
                operation["responses"] |= dict.fromkeys(("4XX", "5XX"), _refusal(schemas["", SERIALIZED]))
            for name in NOT_OURS:
                described["components"]["schemas"].pop(name, None)
            for route in ours:
                schema = schemas.get((route.unique_id, SERIALIZED))
                for method in route.methods or () if schema else ():
                    content = described["paths"][route.path_format][method.lower()]["responses"]["200"].setdefault(
                        "content", {}
                    )
                    content["application/json"] = {"schema": schema}
        return app.openapi_schema or described


class AnswerSchemas(GenerateJsonSchema):
    """As `encode` writes answers: a NamedTuple is an object, and each field is there, whatever its default."""

    def named_tuple_schema(self, schema: Any) -> JsonSchemaValue:
        return self._object(schema["cls"], schema["fields"])

    def call_schema(self, schema: Any) -> JsonSchemaValue:
        """A NamedTuple, to pydantic before 2.14."""
        return self._object(schema["function"], schema["arguments_schema"]["arguments_schema"])

    def _object(self, record: Any, fields: Sequence[Any]) -> JsonSchemaValue:
        properties = {}
        for each in fields:
            name = each["name"]
            properties[name] = self.generate_inner(each["schema"]).copy()
            if "title" not in properties[name] and self.field_title_should_be_set(each["schema"]):
                properties[name]["title"] = self.get_title_from_name(name)
        about = {"title": record.__name__}
        if not record.__doc__.startswith(f"{record.__name__}("):  # not the one that Python makes
            about["description"] = inspect.cleandoc(record.__doc__)
        return {"type": "object", "properties": properties, "required": [*properties], **about}

    def field_is_required(self, field: Any, total: bool) -> bool:
        return field["type"] != "typed-dict-field" or super().field_is_required(field, total)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _refusal(schema: Any) -> dict[str, Any]:
    return {"description": "Refused, or failed", "content": {"application/json": {"schema": schema}}}


def page_of(app: FastAPI) -> str:
    sections = []
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            rows = "".join(_parameter(parameter) for parameter in operation.get("parameters", []))
            title = f"<code>{method.upper()} {html.escape(path)}</code>"
            sections.append(f"<h2>{title}</h2><p>{html.escape(operation.get('summary', ''))}</p><table>{rows}</table>")
    styles = (f"/assets/{name}.css" for name in ("tokens", "docs"))
    style = "".join(f'<link rel="stylesheet" href="{path_to(path)}">' for path in styles)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>HTTP API</title>{style}'
    described = f'<a href="{path_to("/openapi.json")}">openapi.json</a>'
    return f"{head}<main><h1>HTTP API</h1><p>As OpenAPI: {described}</p>{''.join(sections)}</main></html>"


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", {})
    kinds = [part.get("type") or " | ".join(map(str, part.get("enum", []))) for part in schema.get("anyOf", [schema])]
    kind = " | ".join(kind for kind in kinds if kind and kind != "null")
    default = (
        "required"
        if parameter.get("required")
        else f"default {schema['default']}"
        if schema.get("default") not in (None, "")
        else ""
    )
    cells = (
        f"<code>{html.escape(parameter['name'])}</code>",
        html.escape(kind),
        html.escape(default),
        html.escape(parameter.get("description", "")),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
