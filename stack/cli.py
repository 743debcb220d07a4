"""The command `drover`. Each command lives in a file of its own; this one only names them and shows errors."""

from __future__ import annotations

import sys

import typer

from runtime.problems import FatalError, Problem
from stack import config, deadletters, device, doctor, explain, replay, simulate, token, up, warmup

app = typer.Typer(
    name="drover",
    help="Follows everything that moves in a logistics network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.command)
app.command("simulate")(simulate.command)
app.command("replay")(replay.command)
app.command("doctor")(doctor.command)
app.command("explain")(explain.command)
app.command("token")(token.command)
app.command("warmup")(warmup.command)
app.add_typer(device.app, name="device")
app.add_typer(deadletters.app, name="deadletters")
app.add_typer(config.app, name="config")


def main() -> None:
    """Runs a command. What a person must mend is one line on standard error, and exit code 1."""
    try:
        app()
    except (FatalError, Problem) as error:
        print(f"drover: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
