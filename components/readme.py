"""The README of every component, from signature and docstring: `python -m kubeloop.components.readme [--check]`."""

import argparse
import importlib
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


def names() -> list[str]:
    """All components, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob("*/component.py"))


def component(name: str) -> Any:
    """The kfp component of that name."""
    return getattr(importlib.import_module(f"kubeloop.components.{name}.component"), name)


def arguments_of(docstring: str) -> dict[str, str]:
    """The `Args:` of a Google-style docstring, each on one line."""
    block = re.search(r"Args:\n(.*?)(?:\n\s*\n|\Z)", docstring, re.DOTALL)
    found: dict[str, str] = {}
    last = ""
    for line in (block.group(1) if block else "").splitlines():
        entry = re.match(r"\s*(\w+): (.*)", line)
        if entry:
            last = entry.group(1)
            found[last] = entry.group(2).strip()
        elif last:
            found[last] += " " + line.strip()
    return found


def returns_of(docstring: str) -> str:
    """The `Returns:` of a Google-style docstring on one line."""
    block = re.search(r"Returns:\n(.*?)(?:\n\s*\n|\Z)", docstring, re.DOTALL)
    return " ".join(line.strip() for line in block.group(1).splitlines()) if block else ""


def _rows(specs: dict[str, Any], told: dict[str, str]) -> list[str]:
    lines = ["| name | type | description |", "| --- | --- | --- |"]
    for name, spec in specs.items():
        kind = str(spec.type).removeprefix("system.").split("@")[0]
        lines.append(f"| `{'return value' if name == 'Output' else name}` | {kind} | {told.get(name, '')} |")
    return lines


def render(name: str) -> str:
    """The README of a component."""
    made = component(name)
    spec, docstring = made.component_spec, made.python_func.__doc__ or ""
    told = arguments_of(docstring)
    inputs = dict(spec.inputs or {})
    outputs = dict(spec.outputs or {})
    lines = [f"# {name}", "", docstring.strip().splitlines()[0], "", "## Inputs", "", *_rows(inputs, told)]
    if outputs:
        lines += ["", "## Outputs", "", *_rows(outputs, told | {"Output": returns_of(docstring)})]
    lines += [
        "",
        "## Use",
        "",
        "```python",
        f"from kubeloop.components.{name} import {name}",
        "```",
        "",
        f"Image: `{spec.implementation.container.image}`",
        "",
        "This page is generated from `component.py` by `make compile`.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the READMEs, or with `--check` compare without writing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 where a README is stale")
    check = parser.parse_args().check
    stale = 0
    for name in names():
        path, text = FOLDER / name / "README.md", render(name)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if not check:
            path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"components/{name}/README.md: {'stale; run `make compile`' if check else 'written'}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
