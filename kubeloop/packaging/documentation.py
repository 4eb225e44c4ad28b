"""The package's README: what the model is, for a person who finds the folder."""

from collections.abc import Mapping, Sequence

from kubeloop.contract import Contract
from kubeloop.packaging.manifest import CODE, TEST, Feature, Golden, Judgement, Metric


def readme_of(
    contract: Contract,
    features: Sequence[Feature],
    metrics: Mapping[str, Metric],
    judgement: Judgement,
    golden: Golden,
    libraries: Mapping[str, str],
) -> str:
    """Markdown, the same for the same input. It holds no row and no count of rows below the metrics' own."""
    business, calibration = contract.business, contract.estimator.calibration
    learner = f"`{contract.estimator.kind}`" + (f", calibrated ({calibration})" if calibration else "")
    parts = [
        f"# {contract.name}\n",
        f"{business.problem}\n\nWanted outcome: {business.outcome}\n\nOwner: {business.owner}\n"
        if business
        else "No business goal is stated in the contract.\n",
        f"Task: {contract.target.task}; predicts `{contract.target.output}` with {learner}.\n",
        _terms(contract),
        f"The {judgement.gate} gate said: {judgement.verdict}.\n",
        _table(
            "What was measured on rows that the training never saw",
            ("metric", "value", "interval", "rows"),
            [(name, f"{m.value:.4g}", _interval(m), str(m.n)) for name, m in sorted(metrics.items())],
        ),
        _table("What it reads, in this order", ("column", "kind", "values"), [_feature(f) for f in features]),
        _table("What it was fitted with", ("library", "version"), sorted(libraries.items())),
        f"`manifest.json` lists every file by digest, and {len(golden.requests)} golden requests with their answers. "
        "Load it with `kubeloop.packaging.read.read_package(folder, digest)`, which verifies every byte first. "
        f"`{CODE}/` holds the sources that made it, to be read and never run; `{TEST}` replays the golden requests:\n\n"
        f"    PYTHONDONTWRITEBYTECODE=1 python -m pytest -p no:cacheprovider {TEST}\n",
    ]
    return "\n".join(part for part in parts if part)


def _terms(contract: Contract) -> str:
    terms = contract.data.terms
    return f"Data: {terms.origin}; licence {terms.licence}; owner {terms.owner}.\n" if terms else ""


def _interval(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return "none"
    return f"{metric.low:.4g} to {metric.high:.4g} ({metric.method})"


def _feature(feature: Feature) -> tuple[str, str, str]:
    if feature.kind == "number":
        said = (
            "any"
            if feature.minimum is None or feature.maximum is None
            else f"{feature.minimum:g} to {feature.maximum:g}"
        )
    elif feature.kind == "category":
        known = [str(value) for value in feature.categories or ()]
        said = ", ".join(known[:8]) + (f" and {len(known) - 8} more" if len(known) > 8 else "")
    else:
        said = "true, false"
    return feature.name, feature.kind, said + ("; may be missing" if feature.nullable else "")


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"## {title}\n", _row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    # A bar or a line break in a name would break the table.
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
