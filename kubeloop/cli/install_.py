"""`kubeloop install`."""

import json
from pathlib import Path

import click

from kubeloop.cli.options import HOME, JSON, existing_site

EXAMPLE = """\
# A Site: where the loop runs and serves. Credentials are never here: write ${secret:name}.
namespace: team-a                       # of Kubernetes, of the registry and of the ledger
store: pvc://models/kubeloop            # packages and records; a claim that predictors mount
objects:
  mount: /mnt/models                    # where that claim is mounted here and in every pod
sql: postgresql+psycopg://kubeloop:${secret:sql-password}@db.team-a.svc/kubeloop
tracking: http://mlflow.team-a.svc:5000
cluster:
  image: ghcr.io/kubeloop/predictor:0.1.0
  logger: http://kubeloop-log.team-a.svc/events
trusted_keys: []                        # public keys in PEM; or allow_unsigned: true
"""


@click.command(
    "install",
    epilog="""\b
Examples:
  kubeloop install --site cluster --print-example > .kubeloop/sites/cluster/site.yaml
  kubeloop install --site cluster --dry-run
  kubeloop install --site cluster
  kubeloop install --site cluster --uninstall""",
)
@click.option("--site", "site_name", required=True, help="The Site: <home>/sites/NAME/site.yaml.")
@HOME
@click.option("--dry-run", is_flag=True, help="Ask the cluster what would change, and change nothing.")
@click.option("--render", is_flag=True, help="Print the objects as YAML, for `kubectl apply` or a GitOps repository.")
@click.option("--uninstall", is_flag=True, help="Delete what install applied; the namespace and its models stay.")
@click.option("--print-example", is_flag=True, help="Print a commented site.yaml to begin with.")
@JSON
def command(
    site_name: str,
    home: Path | None,
    dry_run: bool,
    render: bool,
    uninstall: bool,
    print_example: bool,
    as_json: bool,
) -> None:
    """Put a Site's namespace, accounts, least Roles, NetworkPolicies and settings on its cluster.

    Once more changes only what differs. Needs the rights of an administrator of the namespace.
    """
    from kubeloop.cluster import installing
    from kubeloop.cluster.api import connect

    if print_example:
        click.echo(EXAMPLE, nl=False)
        return
    site = existing_site(home, site_name)
    documents = installing.render(site)
    if render:
        import yaml

        click.echo(yaml.safe_dump_all(documents, sort_keys=False), nl=False)
        return
    api = connect(site)
    done = installing.uninstall(api, documents) if uninstall else installing.install(api, documents, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({"namespace": site.namespace, "dry_run": dry_run, "objects": dict(done)}))
        return
    for name, word in done:
        click.echo(f"{word:<10} {name}")
    if not uninstall:
        click.echo(f"\nnext       kubeloop doctor --site {site_name}; kubeloop run --site {site_name}")
