"""`kubeloop serve`."""

from pathlib import Path

import click

from kubeloop.cli.options import HOME, existing_site


@click.command(
    "serve",
    epilog="""\b
Examples:
  kubeloop serve heart
  kubeloop serve heart --port 9000
  kubeloop serve heart --monitor         # and keep what it answers, take labels, tell drift""",
)
@click.argument("name")
@HOME
@click.option("--port", default=8080, show_default=True, help="Port on 127.0.0.1.")
@click.option("--monitor", is_flag=True, help="Log what it answers, take labels, and judge windows of both.")
def command(name: str, home: Path | None, port: int, monitor: bool) -> None:
    """Serve the champion of NAME in the foreground, over KServe's V1 and V2 protocols; Ctrl-C ends it.

    A new champion takes over while it runs, without a failed request. With --monitor every answer is logged in the mode
    of the contract's monitoring.log, and detectors hold windows of them against training; `kubeloop status` shows what
    they told, the address that is printed shows how it moved.
    """
    from kubeloop.serving.local import serve
    from kubeloop.site.processes import end_orphans

    site = existing_site(home)
    assert site.home is not None
    end_orphans(site.home)
    serve(site, name, port, click.echo, monitor=monitor)
