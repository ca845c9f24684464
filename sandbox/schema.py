"""The smallest value that a JSON schema allows, for answers in JSON mode and tool calls. Pure."""

from collections.abc import Mapping
from typing import Any

_DEEPEST = 16  # a schema may refer to itself
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "sandbox@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
}


def smallest(schema: Any) -> Any:
    """Return the smallest instance of *schema*; what is beyond its known keywords is ignored."""
    return _instance(schema, schema, _DEEPEST)


def _instance(schema: Any, root: Any, depth: int) -> Any:  # noqa: PLR0911  # one way out a keyword
    if not isinstance(schema, Mapping) or depth == 0:
        return {} if depth else None
    if "const" in schema:
        return schema["const"]
    for keyword in ("enum", "examples"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return schema[keyword][0]
    if "default" in schema:
        return schema["default"]
    if isinstance(schema.get("$ref"), str):
        return _instance(_resolved(schema["$ref"], root), root, depth - 1)
    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return _instance(schema[keyword][0], root, depth - 1)
    if isinstance(schema.get("allOf"), list):
        return _all_of(schema["allOf"], root, depth)
    return _by_type(schema, root, depth)


def _by_type(schema: Mapping[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind == "string":
        text = _FORMATS.get(str(schema.get("format")), "sandbox")
        return text.ljust(_count(schema, "minLength"), "x")[: _count(schema, "maxLength", 10**6)]
    if kind in ("integer", "number"):
        return _least(schema)
    if kind == "boolean":
        return False
    if kind == "null":
        return None
    if kind == "array":
        wanted = min(100, _count(schema, "minItems"))
        return [_instance(schema.get("items"), root, depth - 1) for _ in range(wanted)]
    return _object(schema, root, depth)


def _object(schema: Mapping[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return {
        str(name): _instance(properties.get(str(name), {"type": "string"}), root, depth - 1)
        for name in names
    }


def _all_of(schemas: list[Any], root: Any, depth: int) -> Any:
    parts = [_instance(schema, root, depth - 1) for schema in schemas]
    if all(isinstance(part, dict) for part in parts):
        return {key: value for part in parts for key, value in part.items()}
    return parts[0] if parts else {}


def _resolved(reference: str, root: Any) -> Any:
    found = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step) if isinstance(found, Mapping) and step else found
    return found


def _least(schema: Mapping[str, Any]) -> int | float:
    for keyword, above in (("minimum", 0), ("exclusiveMinimum", 1)):
        value = schema.get(keyword)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value + above
    most = schema.get("maximum")
    return most if isinstance(most, int | float) and most < 0 else 0


def _count(schema: Mapping[str, Any], keyword: str, default: int = 0) -> int:
    value = schema.get(keyword)
    return value if isinstance(value, int) and not isinstance(value, bool) else default
