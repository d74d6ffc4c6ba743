"""The command line: one file a command, each imported when it is called."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from fusionzoo import __version__
from fusionzoo.errors import FusionZooError

_HERE = Path(__file__).parent


class _Commands(click.Group):
    """Commands by file name; only the one that is asked for is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(path.stem for path in _HERE.glob("*.py") if not path.stem.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"fusionzoo.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from fusionzoo.errors import nearest

        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            ctx.fail(
                f"There is no command {args[0]!r}. {nearest(args[0], known)}Commands: "
                f"{', '.join(known)}."
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="fusionzoo")
def _root() -> None:
    """Multimodal medical AI from a string: models put together, checked, trained, compared."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command; mistakes the user can mend are printed without a traceback and exit with 2."""
    try:
        _root.main(args=arguments, prog_name="fusionzoo", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except FusionZooError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
