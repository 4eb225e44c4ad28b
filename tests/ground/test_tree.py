"""What the tree holds, and what it must not."""

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

TOP = {
    ".ci": "what continuous integration and set-up run",
    ".editorconfig": "how editors indent",
    ".gitignore": "what is never committed",
    ".importlinter": "which room may import which",
    "CONTRIBUTING.md": "how to work on it",
    "LICENSE": "Apache-2.0",
    "Makefile": "the commands",
    "README.md": "the front page",
    "components": "KFP components",
    "deploy": "kustomize",
    "docs": "decisions and guides",
    "examples": "a loop.yaml and data each",
    "experiments": "hyperparameter search",
    "images": "Containerfiles",
    "kubeloop": "the library",
    "pipelines": "compositions and their compiled YAML",
    "pyproject.toml": "the package and its tools",
    "serving": "the processes behind an endpoint",
    "tests": "mirrors the tree",
    "uv.lock": "the one lock",
}
# `/home/me` is nobody's: what examples of addresses use.
MACHINE = re.compile(r"(?<![\w.:/$}-])/(?:work|root|home(?!/me\b)|Users)/\w[\w./-]*")
SECRETS = {
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "cloud access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "forge token": re.compile(r"\b(?:ghp|gho|ghs|glpat|github_pat)[_-][0-9A-Za-z_]{20,}\b"),
    "URL with a password": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"'<>{}$]+:(?![\"'<{$])[^\s/@\"'<>{}$]+@[\w.-]+"),
}
# Tests plant such things on purpose, always recognisable by one of these.
PLANTED = re.compile(r"c[a4]n[a4]ry|hunter2|secret|example|password|//a:b@c$", re.IGNORECASE)


@pytest.fixture(scope="module")
def texts(root: Path) -> dict[str, str]:
    """Every text file that git tracks or would, but for the lock: name and content."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    found = {}
    for name in filter(None, names):
        path = root / name
        if name == "uv.lock" or not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" not in data[:4096]:
            found[name] = data.decode("utf-8", errors="replace")
    return found


def test_every_top_level_entry_is_known(texts: dict[str, str]) -> None:
    assert {name.partition("/")[0] for name in texts} - set(TOP) == set()


def test_no_machine_path(texts: dict[str, str]) -> None:
    found = {name: match.group() for name, text in texts.items() if (match := MACHINE.search(text))}
    assert found == {}


def test_no_secret(texts: dict[str, str]) -> None:
    found = [
        f"{name}: {kind}: {match.group()}"
        for name, text in texts.items()
        for kind, pattern in SECRETS.items()
        for match in pattern.finditer(text)
        if not (name.startswith("tests/") and PLANTED.search(match.group()))
    ]
    assert found == []


def line_of(*parts: str) -> str:
    """A forbidden text, put together here so that this file does not hold it."""
    return "".join(parts)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("private key", line_of("-----BEGIN RSA PRIVATE", " KEY-----")),
        ("cloud access key", line_of("AKIA", "ABCDEFGHIJKLMNOP")),
        ("forge token", line_of("ghp", "_", "a" * 36)),
        ("URL with a password", line_of("postgresql://kubeloop:", "s3cr3t@db.local/x")),
    ],
)
def test_secret_patterns_bite(kind: str, text: str) -> None:
    assert SECRETS[kind].search(text)


@pytest.mark.parametrize(
    "text", ["postgresql://kubeloop:${secret:sql}@db/x", "http://localhost:8080/v1", "https://github.com/o/r@v1"]
)
def test_secret_patterns_leave_references_alone(text: str) -> None:
    assert not any(pattern.search(text) for pattern in SECRETS.values())


@pytest.mark.parametrize(
    "text", [line_of("see /ho", "me/ann/data"), line_of('path = "/ro', 'ot/x.csv"'), line_of("(/Us", "ers/ann)")]
)
def test_machine_paths_bite(text: str) -> None:
    assert MACHINE.search(text)


def test_the_lock_names_no_private_index(root: Path) -> None:
    urls = re.findall(r'"(https?://[^"]+)"', (root / "uv.lock").read_text())
    assert {urlsplit(url).hostname for url in urls} == {"pypi.org", "files.pythonhosted.org"}


def test_what_is_compiled_is_ascii(texts: dict[str, str]) -> None:
    """Component sources end up inside the compiled YAML, whose bytes must not hang on a locale."""
    wrong = [
        name for name, text in texts.items() if name.startswith(("components/", "pipelines/")) and not text.isascii()
    ]
    assert wrong == []


def test_the_licence_is_the_whole_apache_licence(root: Path) -> None:
    lines = (root / "LICENSE").read_text().splitlines()
    assert (lines[1].strip(), len(lines)) == ("Apache License", 202)
    assert lines[-1].strip() == "limitations under the License."
