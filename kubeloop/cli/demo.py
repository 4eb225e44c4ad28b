"""`make demo`: the main job on real data; BAD=data or BAD=model shows a refusal.

`python -m kubeloop.cli.demo [data|model]`, from the root of a checkout.
"""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import click

from kubeloop.errors import InputError, KubeloopError, PermanentError

EXAMPLE = Path("examples/heart")
FLIGHTS = Path("examples/flights")
OUT = Path("out/demo")
START_S = 120.0


def main(bad: str) -> int:
    """Run the demo; returns its exit code: 0 when the gates did what they must."""
    began = time.monotonic()
    if bad not in ("", "data", "model"):
        raise InputError(f"BAD is data or model, got {bad!r}", "try `make demo BAD=data`")
    OUT.mkdir(parents=True, exist_ok=True)
    for file in EXAMPLE.iterdir():
        shutil.copyfile(file, OUT / file.name)
    if bad == "data":
        return _bad_data()
    if bad == "model":
        return _bad_model()
    _good()
    _flights()
    click.echo(
        f"\ndone in {time.monotonic() - began:.0f} s. Now see it refuse: make demo BAD=data, make demo BAD=model"
    )
    return 0


def _good() -> None:
    _say("Train on 303 patients, judge, package, deploy", "kubeloop run out/demo/loop.yaml")
    _run(OUT / "loop.yaml")
    _say("Serve the champion and ask it", "kubeloop serve heart --home out/demo/.kubeloop")
    _ask()


def _flights() -> None:
    """The second act: tables that are joined in time, judged on later days; and a column that is known too late."""
    folder = OUT / "flights"
    folder.mkdir(exist_ok=True)
    contract = folder / "loop-q1.yaml"
    for name in (contract.name, "flights-q1.parquet", "weather.parquet"):
        shutil.copyfile(FLIGHTS / name, folder / name)
    home = OUT / ".kubeloop"
    _say(
        "All flights out of New York, January to March, with the weather of the hour: late? Judged on the last 18 days",
        f"kubeloop run {contract} --home {home}",
    )
    _run(contract)
    _say("And with the delay itself as an input?", f"kubeloop check {contract}")
    _edit("\nestimator:", "\nfeatures: {use: [hour, arr_delay]}\n\nestimator:", contract)
    _must_be_wrong(contract)


def _must_be_wrong(contract: Path) -> None:
    from kubeloop.contract.load import read_contract

    try:
        read_contract(contract)
    except InputError as error:
        click.secho("error: ", fg="red", bold=True, nl=False)
        click.echo(str(error))
        return
    raise PermanentError("a column that is known too late was taken as a feature", "please report this defect")


def _bad_data() -> int:
    click.echo("A table as published in teaching material: its column trestbps, resting blood pressure,")
    click.echo("in truth holds cholesterol. Nothing in the file says so.")
    _edit("path: heart.csv", "path: heart-mislabelled.csv")
    _say("Feed it to the loop", "kubeloop run out/demo/loop.yaml")
    return _must_refuse("the data gate stopped it before anything was trained")


def _bad_model() -> int:
    if not _has_champion():
        _say("First a champion", "kubeloop run out/demo/loop.yaml")
        _run(OUT / "loop.yaml")
    click.echo("\nA challenger that looks at fasting blood sugar alone, and still calls itself a heart model.")
    _edit("\nestimator:", "\nfeatures:\n  use: [fbs]\n\nestimator:")
    _say("Let it try", "kubeloop run out/demo/loop.yaml")
    return _must_refuse("the champion stays")


def _must_refuse(moral: str) -> int:
    try:
        _run(OUT / "loop.yaml")
    except KubeloopError as error:
        if error.exit_code != 3:
            raise
        click.secho("refused: ", fg="yellow", bold=True, nl=False)
        click.echo(str(error))
        click.echo(f"\nExit code 3: {moral}.")
        return 0
    click.secho("The gate let it pass. That is a defect; please report it.", fg="red")
    return 1


def _run(contract: Path) -> None:
    from kubeloop.cli.options import console
    from kubeloop.cli.run_ import run_and_show

    run_and_show(contract, OUT / ".kubeloop", 600.0, console())


def _has_champion() -> bool:
    from kubeloop.registry.champions import champion
    from kubeloop.site import laptop
    from kubeloop.store.engine import open_engine

    site = laptop(OUT / ".kubeloop")
    if not (OUT / ".kubeloop" / "kubeloop.db").exists():
        return False
    return champion(open_engine(site), site.namespace, "heart") is not None


def _edit(old: str, new: str, contract: Path = OUT / "loop.yaml") -> None:
    text = contract.read_text(encoding="utf-8")
    if old not in text:
        raise PermanentError(f"{contract} should hold {old.strip()!r}", "restore the example's own file")
    contract.write_text(text.replace(old, new, 1), encoding="utf-8")


def _ask() -> None:
    from kubeloop.serving.local import running
    from kubeloop.site.processes import child_environment, die_with_parent

    home = (OUT / ".kubeloop").resolve()
    log = OUT / "serve.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "kubeloop.cli.main", "serve", "heart", "--home", str(home), "--port", "0"],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=child_environment(home),
            preexec_fn=die_with_parent,
        )
    try:
        deadline = time.monotonic() + START_S
        while not (up := running(home)):
            if server.poll() is not None or time.monotonic() > deadline:
                raise PermanentError("the server did not come up", f"see {log}")
            time.sleep(0.1)
        _request(up[0].url)
    finally:
        server.terminate()
        server.wait(timeout=20)


def _request(url: str) -> None:
    patient = {
        "age": 63, "sex": 1, "cp": 4, "trestbps": 140, "chol": 260, "fbs": 0, "restecg": 2,
        "thalach": 112, "exang": 1, "oldpeak": 3.0, "slope": 2, "ca": 1, "thal": 7,
    }  # fmt: skip
    body = json.dumps({"instances": [patient]})
    address = f"{url}/v1/models/heart:predict"
    request = urllib.request.Request(address, body.encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
        text = answer.read().decode()
    click.echo(f"POST {address}\n  {body}\n  -> {text}")


def _say(what: str, command: str) -> None:
    click.secho(f"\n{what}", bold=True)
    click.secho(f"$ {command}", dim=True)


if __name__ == "__main__":
    try:
        code = main(sys.argv[1] if len(sys.argv) > 1 else "")
    except KubeloopError as failed:
        from kubeloop.cli.main import show_error

        show_error(failed, as_json=False)
        code = failed.exit_code
    sys.exit(code)
