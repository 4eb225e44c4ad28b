"""The `kubeloop` command."""

import errno
import importlib
import json
import sys
from typing import Any

import click

import kubeloop
from kubeloop.errors import KubeloopError

COMMANDS: dict[str, str] = {
    "init": "Write a commented loop.yaml from a table.",
    "check": "Read loop.yaml and say all that is wrong with it.",
    "run": "Run the loop: from the table to a served, judged model.",
    "tune": "Check a Katib Experiment, and run one on this machine.",
    "import": "Run the loop with a model that was fitted elsewhere.",
    "serve": "Serve the champion here, in the foreground.",
    "predict": "Score rows with a registered model.",
    "capacity": "Find what an endpoint carries, and how it should scale.",
    "quarantine": "See the rows that were set aside, mend them, let them back in.",
    "log": "Keep what was asked and answered, and see how good the answers were.",
    "labels": "Tell the log what came true.",
    "status": "Show what is champion, what serves, and where they disagree.",
    "versions": "List the versions of a model, and review one.",
    "compare": "Show what differs between two versions.",
    "promote": "Make a registered version the champion.",
    "rollback": "Go back to the champion before.",
    "reconcile": "Finish or undo what stopped half-way.",
    "ledger": "Show the chain of decisions, or prove it whole.",
    "keys": "Make the key pair that signs packages.",
    "reproduce": "Make a run again and name what differs.",
    "runs": "List the runs, newest first.",
    "diff": "Show what differs between two runs or versions.",
    "open": "Show the page of all runs, or of one.",
    "compile": "Write the pipeline's YAML and its arguments for a Kubeflow cluster.",
    "submit": "Run the loop on a Kubeflow.",
    "schedule": "Run it there again and again.",
    "wait": "Wait for a run there, and say what its gates said.",
    "install": "Put a Site's namespace, Roles and settings on its cluster.",
    "doctor": "Check this machine and this home, and say what to mend.",
    "gc": "Remove what no run, version or champion needs any more.",
}


class LazyGroup(click.Group):
    """Imports a command's module only when it is called: `kubeloop --help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command from its module `kubeloop.cli.<name>`."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"kubeloop.cli.{cmd_name}_")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line a command, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest command when there is none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start: kubeloop init patients.csv --target sick && kubeloop run && kubeloop serve patients",
)
@click.version_option(kubeloop.__version__, prog_name="kubeloop")
def cli() -> None:
    """The MLOps loop on Kubeflow: from one table and one loop.yaml to a served, judged model.

    Exit codes: 0 done, 2 the input is wrong, 3 a gate refused, 1 we broke.
    """


def show_error(error: KubeloopError, *, as_json: bool) -> None:
    """Print an error: to standard error for a person, as one JSON document on standard output for a script."""
    if as_json:
        click.echo(json.dumps({"error": error.to_dict() | {"kind": error.kind}, "exit_code": error.exit_code}))
        return
    label = "refused" if error.exit_code == 3 else "error"
    click.secho(f"{label}: ", fg="yellow" if error.exit_code == 3 else "red", bold=True, err=True, nl=False)
    click.echo(str(error), err=True)


_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR)


def _place_error(error: OSError) -> KubeloopError | None:
    from kubeloop.errors import InputError
    from kubeloop.site.addresses import disk_full

    place = str(error.filename or "the home")
    if error.errno in _UNWRITABLE:
        return InputError(
            f"{place} cannot be written: {error.strerror}",
            "name a place that is yours with --home or --out",
            path=place,
        )
    return disk_full(error, place)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; returns never, exits with the code of the outcome."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        cli.main(args=arguments, prog_name="kubeloop", standalone_mode=True)
    except KubeloopError as error:
        show_error(error, as_json="--json" in arguments)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe has gone, as `head` does
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        known = _place_error(error)
        if known is None:
            raise
        show_error(known, as_json="--json" in arguments)
        sys.exit(known.exit_code)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("kubeloop"):
            raise
        click.echo(f"error: {error.name} is not installed\n  fix: pip install 'kubeloop[core,serve]'", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
