"""Print a CycloneDX 1.5 document of all that is installed here: Python's distributions and Debian's packages.

Standard library alone: it runs inside an image's build, by the interpreter whose packages it lists.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

DPKG = Path("/var/lib/dpkg/status")


def distributions() -> list[dict[str, object]]:
    """Every Python distribution, by name."""
    found: dict[str, dict[str, object]] = {}
    for item in importlib.metadata.distributions():
        name, version = item.metadata["Name"], item.version
        told = item.metadata.json
        licence = str(told.get("license_expression") or told.get("license") or "")
        entry: dict[str, object] = {"type": "library", "name": name, "version": version}
        entry["purl"] = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
        if licence and "\n" not in licence:
            entry["licenses"] = [{"license": {"name": licence}}]
        found[name.lower()] = entry
    return [found[name] for name in sorted(found)]


def debian() -> list[dict[str, object]]:
    """Every Debian package, in the order of dpkg's own list; none where there is no dpkg."""
    if not DPKG.exists():
        return []
    entries: list[dict[str, object]] = []
    for block in DPKG.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(" "))
        if "install ok installed" in fields.get("Status", ""):
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{name}@{version}"
            entries.append({"type": "library", "name": name, "version": version, "purl": purl})
    return entries


def document(image: str) -> dict[str, object]:
    """The whole bill of materials of an image."""
    components = [*distributions(), *debian()]
    subject = {"type": "container", "name": f"kubeloop/{image}"}
    head = {"bomFormat": "CycloneDX", "specVersion": "1.5", "metadata": {"component": subject}}
    return {**head, "components": components}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(sys.argv[1]), indent=1) + "\n")
