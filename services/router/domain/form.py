"""
The form that a request asks of its answer (JSON, a schema, calls of tools), and whether it has it.

Checked is what answers get wrong: type, required fields, fields, items and choices. Whoever asks
writes the schema, so nothing of it is run that could take long: no patterns, no references.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

Fault = Literal["", "unparsed", "off_schema"]

MOST_TOOLS = 128  # what OpenAI allows
DEEPEST = 32
_FENCE = "```"
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


@dataclass(frozen=True, slots=True)
class Form:
    schema: Mapping[str, Any] | None = None  # {}: any JSON; None: none was asked for
    tools: Mapping[str, Any] = field(default_factory=dict)  # parameters' schema by function name
    must_call: bool = False  # a tool has to be called

    @property
    def asked(self) -> bool:
        return self.schema is not None or bool(self.tools)

    def fault_of(self, text: str, calls: Sequence[Any]) -> Fault:
        """Say what is wrong with the form of an answer: its text, and the tools that it calls."""
        if calls and self.tools:
            faults = [self._fault_of_call(call) for call in calls]
            return next((fault for fault in faults if fault), "")
        if self.must_call:
            return "off_schema"
        if self.schema is None:
            return ""
        value = _parsed(_without_fence(text))
        if value is _UNPARSED:
            return "unparsed"
        return "" if matches(value, self.schema) else "off_schema"

    def _fault_of_call(self, call: Any) -> Fault:
        function = call.get("function") if isinstance(call, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(name, str) or name not in self.tools:
            return "off_schema"
        arguments = function.get("arguments")
        value = _parsed(arguments) if isinstance(arguments, str) else arguments
        if value is _UNPARSED:
            return "unparsed"
        return "" if matches(value, self.tools[name]) else "off_schema"


FREE = Form()


def form_of(body: Mapping[str, Any]) -> Form:
    """Read the form that a chat completion request asks for; what makes no sense asks nothing."""
    tools = {name: schema for tool in _list(body.get("tools")) for name, schema in _tool(tool)}
    schema = _schema(body.get("response_format"))
    if schema is None and not tools:
        return FREE
    choice = body.get("tool_choice")
    return Form(schema, tools, bool(tools) and choice not in (None, "auto", "none"))


def matches(value: Any, schema: Any, depth: int = 0) -> bool:
    """Say whether *value* is as *schema* says, as far as is checked here."""
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return True
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        return False
    if not _is_typed(value, schema.get("type")):
        return False
    if isinstance(value, dict):
        fields = schema.get("properties")
        fields = fields if isinstance(fields, Mapping) else {}
        return all(name in value for name in _list(schema.get("required"))) and all(
            matches(value[name], field, depth + 1)
            for name, field in fields.items()
            if name in value
        )
    if isinstance(value, list):
        return all(matches(item, schema.get("items"), depth + 1) for item in value)
    return True


_UNPARSED = object()


def _without_fence(text: str) -> str:
    """Take JSON out of the code fence that models like to put around it."""
    text = text.strip()
    if text.startswith(_FENCE):
        text = text.removeprefix(_FENCE).removeprefix("json").removesuffix(_FENCE)
    return text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _UNPARSED


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _schema(wanted: Any) -> Mapping[str, Any] | None:
    if not isinstance(wanted, Mapping):
        return None
    if wanted.get("type") == "json_object":
        return {"type": "object"}
    if wanted.get("type") != "json_schema":
        return None
    named = wanted.get("json_schema")
    schema = named.get("schema") if isinstance(named, Mapping) else None
    return schema if isinstance(schema, Mapping) else {}


def _tool(tool: Any) -> Sequence[tuple[str, Any]]:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return ()
    return ((function["name"], function.get("parameters")),)


def _list(found: Any) -> Sequence[Any]:
    return found[:MOST_TOOLS] if isinstance(found, list) else ()


def _is_typed(value: Any, wanted: Any) -> bool:
    names: Sequence[Any] = wanted if isinstance(wanted, list) else [wanted]
    known = [name for name in names if isinstance(name, str) and name in _TYPES]
    if not known:
        return True
    if isinstance(value, bool):
        return "boolean" in known
    if isinstance(value, float) and value.is_integer() and "integer" in known:
        return True  # 3.0 is an integer to JSON schema
    return any(isinstance(value, _TYPES[name]) for name in known)
