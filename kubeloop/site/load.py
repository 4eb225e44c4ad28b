"""Find the Site: a mounted `site.yaml`, or this machine."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from kubeloop.errors import InputError
from kubeloop.site.model import Site, laptop

SITE_DIR = "/etc/kubeloop/site"
SITE = "site.yaml"
"""The file of a folder, and the key of a ConfigMap, that describes a Site."""

SITE_YAML = "KUBELOOP_SITE_YAML"
"""The variable that holds that description where no folder does."""

SITES = "sites"
"""The folder of a laptop's other Sites below its home: `sites/<name>/site.yaml`."""


def load_site(environ: Mapping[str, str] = os.environ) -> Site:
    """The Site of this process.

    `$KUBELOOP_SITE_DIR` (default `/etc/kubeloop/site`) with a `site.yaml`; without that file (an optional mount that is
    absent is an empty folder) what `$KUBELOOP_SITE_YAML` holds; without either the laptop at `$KUBELOOP_HOME` (default
    `.kubeloop`) with `$KUBELOOP_INPUTS`. A `site.yaml` without `home` or `inputs` takes those of the environment.

    Raises:
        InputError: `site.yaml` is not a Site; all findings are named.
    """
    file = Path(environ.get("KUBELOOP_SITE_DIR") or SITE_DIR) / SITE
    home, inputs = environ.get("KUBELOOP_HOME"), environ.get("KUBELOOP_INPUTS")
    found = _read(file) if file.is_file() else None
    if found is None and environ.get(SITE_YAML):
        found = _parsed(environ[SITE_YAML].encode("utf-8"), f"${SITE_YAML}")
    if found is not None:
        return _placed(found, Path(home) if home else None, Path(inputs) if inputs else None)
    return laptop(Path(home or ".kubeloop"), Path(inputs) if inputs else None)


def named_site(home: Path, name: str, inputs: Path | None = None) -> Site:
    """One of the Sites that a laptop knows by name: `<home>/sites/<name>/site.yaml`.

    Args:
        home: State root of this laptop, which keeps what has to be on a local disk.
        name: The Site's name; `laptop` is the laptop itself.
        inputs: Folder of loop.yaml.

    Raises:
        InputError: There is no such file, or it is not a Site.
    """
    if name == "laptop":
        return laptop(home, inputs)
    file = site_folder(home, name) / SITE
    if not file.is_file():
        known = ", ".join(sorted(path.parent.name for path in (home / SITES).glob(f"*/{SITE}"))) or "none"
        raise InputError(
            f"the Site {name} was expected at {file}, and is not there; known: {known}",
            f"write one with `kubeloop install --site {name} --print-example > {file}`",
            site=name,
        )
    return _placed(_read(file).model_copy(update={"name": name}), home.resolve(), inputs)


def site_folder(home: Path, name: str) -> Path:
    """Where a named Site's file lies: what `$KUBELOOP_SITE_DIR` names for its tasks."""
    return home.resolve() / SITES / name


def _placed(site: Site, home: Path | None, inputs: Path | None) -> Site:
    given = {"home": None if home is None else home.resolve(), "inputs": None if inputs is None else str(inputs)}
    return site.model_copy(update={key: value for key, value in given.items() if getattr(site, key) is None})


def _read(file: Path) -> Site:
    return _parsed(file.read_bytes(), str(file))


def _parsed(content: bytes, file: str) -> Site:
    import yaml

    try:
        document = yaml.safe_load(content.decode("utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{file}:{line}: not YAML: {error.problem}", "mend that line", file=file, line=line) from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise InputError(f"{file}: not YAML text in UTF-8", "save it as UTF-8 YAML", file=file) from None
    if not isinstance(document, dict):
        raise InputError(
            f"{file}: keys and values were expected, got {type(document).__name__}",
            f"write at least store, sql and tracking; known keys: {', '.join(Site.model_fields)}",
            file=file,
        )
    try:
        return Site.model_validate(document)
    except ValidationError as error:
        # `from None`: the cause would carry the values, and one of them may be a secret.
        raise InputError(
            f"{file}: {'; '.join(_finding(found['loc'], found['type'], found['msg']) for found in error.errors())}",
            f"known keys: {', '.join(Site.model_fields)}",
            file=file,
        ) from None


def _finding(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    key = ".".join(str(part) for part in loc)
    if kind != "extra_forbidden":
        return f"{key}: {message[:1].lower()}{message[1:]}"
    nearest = difflib.get_close_matches(key, Site.model_fields, 1)
    return f"{key} is no known key" + (f", did you mean {nearest[0]}?" if nearest else "")
