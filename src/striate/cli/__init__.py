"""The command line: one file per command, each importing what is heavy only when it runs.

Bad input ends with one line on standard error and exit code 2, a failure of ours with 1, Ctrl-C with 130;
a traceback is shown only with `--debug`. Results go to standard output, everything else to standard error.
"""

import sys
from io import TextIOWrapper

import typer

import striate
from striate.cli.data import data
from striate.cli.demo import demo
from striate.cli.describe import describe
from striate.cli.evaluate import evaluate
from striate.cli.models import models
from striate.cli.predict import predict
from striate.cli.reproduce import reproduce
from striate.cli.train import train
from striate.errors import Interrupted, StriateError

app = typer.Typer(
    name="striate",
    help="Convolutional networks: size them, train them, use them, see what they learned.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawing the help with Rich takes longer than everything else before it
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (demo, models, describe, data, train, evaluate, predict, reproduce):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        print(f"striate {striate.__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Convolutional networks: size them, train them, use them, see what they learned."""


def main() -> None:
    """The entry point of `striate` and of `python -m striate`."""
    for stream in (sys.stdout, sys.stderr):  # names of files may hold what a terminal cannot show
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=arguments, prog_name="striate")
    except StriateError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except Interrupted as stopped:
        print(f"\n{stopped}", file=sys.stderr)
        raise SystemExit(130) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output went away: not an error of anybody
        sys.stderr.close()
        raise SystemExit(0) from None
    except Exception as error:
        if debug:
            raise
        print(f"striate failed: {type(error).__name__}: {error} (run again with --debug)", file=sys.stderr)
        raise SystemExit(1) from error
