"""Bring packages out of an object store into a pod, before what needs them starts: verified, or not at all.

python -m kubeloop.serving.fetch --package DIGEST [--package DIGEST] --to FOLDER
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kubeloop.errors import KubeloopError


def main(arguments: Sequence[str]) -> int:
    """Fetch each `FOLDER/cache/packages/DIGEST` from the store of this pod's Site; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kubeloop.serving.fetch", allow_abbrev=False)
    parser.add_argument("--package", action="append", required=True, help="digest of a package")
    parser.add_argument("--to", type=Path, required=True, help="folder that takes them")
    chosen = parser.parse_args(arguments)
    from kubeloop.packaging.store import fetch
    from kubeloop.site import load_site

    try:
        site = load_site().model_copy(update={"home": chosen.to})
        for digest in chosen.package:
            fetch(site, digest)
    except KubeloopError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
