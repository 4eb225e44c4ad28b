"""Compile the pipelines into their golden files: `python -m kubeloop.pipelines.compile [--check]`."""

import argparse
import sys
import tempfile
from pathlib import Path

PIPELINES = ("score", "train")
COMPILED = Path(__file__).resolve().parent / "compiled"


def compiled_path(name: str) -> Path:
    """The golden file of a pipeline, such as `train`."""
    return COMPILED / f"{name}.yaml"


def compile_pipeline(name: str, out: Path) -> None:
    """Write a pipeline's YAML; equal sources give equal bytes."""
    from kfp.compiler import Compiler

    from kubeloop.pipelines.score.pipeline import score_pipeline
    from kubeloop.pipelines.train.pipeline import train_pipeline

    Compiler().compile({"score": score_pipeline, "train": train_pipeline}[name], str(out))


def stale() -> list[str]:
    """Names of golden files that differ from what the sources compile to."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in PIPELINES:
            fresh = Path(folder) / f"{name}.yaml"
            compile_pipeline(name, fresh)
            golden = compiled_path(name)
            if not golden.exists() or golden.read_bytes() != fresh.read_bytes():
                found.append(name)
    return found


def main() -> int:
    """Compile, or with `--check` compare without writing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 where a golden file is stale")
    check = parser.parse_args().check
    names = stale()
    for name in names:
        if not check:
            compile_pipeline(name, compiled_path(name))
        sys.stdout.write(f"{compiled_path(name).name}: {'differs; run `make compile`' if check else 'written'}\n")
    return 1 if check and names else 0


if __name__ == "__main__":
    sys.exit(main())
