"""`kubeloop serve`."""

from pathlib import Path

import click

from kubeloop.cli.options import HOME, existing_site


@click.command(
    "serve",
    epilog="""\b
Examples:
  kubeloop serve heart
  kubeloop serve heart --port 9000""",
)
@click.argument("name")
@HOME
@click.option("--port", default=8080, show_default=True, help="Port on 127.0.0.1.")
def command(name: str, home: Path | None, port: int) -> None:
    """Serve the champion of NAME in the foreground, over KServe's V1 and V2 protocols; Ctrl-C ends it.

    A new champion takes over while it runs, without a failed request.
    """
    from kubeloop.serving.local import serve
    from kubeloop.site.processes import end_orphans

    site = existing_site(home)
    assert site.home is not None
    end_orphans(site.home)
    serve(site, name, port, click.echo)
