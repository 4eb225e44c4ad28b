"""The process in which kfp.local executes a compiled pipeline: `python -m kubeloop.pipelines.local_child JOB.json`.

Its output is the run's log; what happened is in the run's records.
"""

import json
import logging
import os
import shlex
import sys
import warnings
from pathlib import Path

from kubeloop.site import warm, warm_order


def main(job_file: str) -> None:
    """Execute a job.

    Args:
        job_file: JSON with `pipeline` (the YAML), `arguments`, `root` (artifacts) and `cache` (a folder).
    """
    from kfp import local
    from kfp.components import load_component_from_file

    # kfp.local tells of cache hits outside its own logger context; without a handler nobody would hear of them.
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    warnings.filterwarnings("ignore", category=UserWarning, message=r"Task .*: settings .* have no effect")
    warnings.filterwarnings("ignore", category=RuntimeWarning, message="You may be attemping")
    # What kfp.local puts in place of `python3`, in a line for sh: each task is forked warm.
    sys.executable = shlex.join([sys.executable, "-I", "-S", warm_order.__file__, os.environ[warm.ADDRESS]])
    job = json.loads(Path(job_file).read_text(encoding="ascii"))
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=job["root"],
        raise_on_error=True,
        enable_caching=True,
        cache_root=job["cache"],
    )
    load_component_from_file(job["pipeline"])(**job["arguments"])


if __name__ == "__main__":
    main(sys.argv[1])
