"""The reference of loop.yaml for its users, written from the contract's own models; `python -m` writes it to docs/."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kubeloop.contract.schema import json_schema

PLACE = Path("docs/contract.md")
EXAMPLES = ("heart", "flights", "ames")
_HEAD = """# loop.yaml

Every word of a contract, written from the models that read it (`python -m kubeloop.contract.reference`); `kubeloop
check` says what a contract does with them. A word without a default must be there.
"""


def reference(examples: Sequence[str]) -> str:
    """The page, Markdown.

    Args:
        examples: Texts of contracts; a chapter shows its lines from the first one that has it.
    """
    schema = json_schema()
    known: Mapping[str, Any] = schema["$defs"]
    lines = [_HEAD]
    shown: set[str] = set()
    for name, chapter in schema["properties"].items():
        lines += [f"## {name}", "", *_said(chapter, known)]
        if (example := _example(name, examples)) is not None:
            lines += ["```yaml", example, "```", ""]
        for model in _models(chapter):
            lines += list(_tables(model, known, shown))
    return "\n".join(lines).rstrip() + "\n"


def _said(chapter: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    text = chapter.get("description") or next(
        (known[model].get("description", "") for model in _models(chapter)), "One word."
    )
    return [" ".join(text.split()), ""] if text else []


def _tables(model: str, known: Mapping[str, Any], shown: set[str]) -> Iterator[str]:
    """A table for a model that was not shown yet, then those of the models that it holds."""
    if model in shown or "properties" not in known[model]:
        return
    shown.add(model)
    needed = known[model].get("required", ())
    yield f"### {model}"
    yield ""
    yield "| word | what it takes | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for word, value in known[model]["properties"].items():
        default = "" if word in needed else f"`{json.dumps(value.get('default'))}`" if "default" in value else "empty"
        yield f"| `{word}` | {_type(value)} | {default} | {_cell(value.get('description', ''))} |"
    yield ""
    for value in known[model]["properties"].values():
        for inner in _models(value):
            yield from _tables(inner, known, shown)


def _models(value: Any) -> list[str]:
    """Names of the models that a schema refers to, in order."""
    found = re.findall(r'"\$ref": "#/\$defs/([^"]+)"', json.dumps(value))
    return list(dict.fromkeys(found))


def _type(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{word}`" for word in value["enum"])
    if "anyOf" in value:
        return " or ".join(_type(each) for each in value["anyOf"] if each.get("type") != "null")
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}))}"
    if value.get("type") == "object":
        return f"map to {_type(value.get('additionalProperties', {}))}"
    return str(value.get("type", "anything")) + _bounds(value)


def _bounds(value: Mapping[str, Any]) -> str:
    signs = (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    )
    said = ", ".join(f"{sign} {value[word]:g}" for word, sign in signs if word in value)
    return f", {said}" if said else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _example(chapter: str, texts: Sequence[str]) -> str | None:
    """The lines of a chapter in the first text that has it."""
    for text in texts:
        found = re.search(rf"^{re.escape(chapter)}:.*\n((?:[ ]+.*\n|\n)*)", text, re.MULTILINE)
        if found is not None:
            return found[0].rstrip()
    return None


def main() -> None:
    """Write the page of this checkout."""
    texts = [Path("examples", name, "loop.yaml").read_text(encoding="utf-8") for name in EXAMPLES]
    PLACE.write_text(reference(texts), encoding="utf-8")


if __name__ == "__main__":
    main()
