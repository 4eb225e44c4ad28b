"""The score pipeline: a file of rows, answered by a registered model."""

from functools import partial

from kfp import dsl

from kubeloop.components.predict import predict
from kubeloop.components.read_rows import read_rows
from kubeloop.components.write_rows import write_rows
from kubeloop.pipelines.placing import place

MINUTE = 60


@dsl.pipeline(
    name="kubeloop-score",
    description="A file of rows in, their answers out, with a reason for each row that has none.",
)
def score_pipeline(
    model: str,
    source: str,
    out: str,
    quarantine_out: str = "",
    site: str = "kubeloop",
    cpu: str = "1",
    memory: str = "2Gi",
) -> None:
    """Compose the scoring of a file.

    Args:
        model: NAME (its champion), NAME@VERSION or NAME@DIGEST.
        source: CSV, Parquet or JSON Lines: an address (https, s3, gs) or an absolute path.
        out: Where the answers go: an address (s3, gs) or an absolute path, ending in .csv or .parquet.
        quarantine_out: Where the reasons for refused rows go; empty: beside the answers, as <name>.quarantine.csv.
        site: Name of the ConfigMap and the Secret that describe the site.
        cpu: CPU limit of every task.
        memory: Memory limit of every task.
    """
    here = partial(place, site=site, cpu=cpu, memory=memory)
    pure = partial(here, cached=True)
    world = partial(here, cached=False)
    read = world(read_rows(model=model, source=source), timeout_s=60 * MINUTE)
    # The model as it was found: the same rows and the same package have the same answers.
    answered = pure(predict(model=read.outputs["Output"], rows=read.outputs["rows"]), timeout_s=240 * MINUTE)
    world(
        write_rows(
            answers=answered.outputs["answers"],
            quarantine=answered.outputs["quarantine"],
            out=out,
            quarantine_out=quarantine_out,
        ),
        timeout_s=60 * MINUTE,
    )
