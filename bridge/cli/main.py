"""The command line: global options, settings files, exit codes."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import App, Parameter
from pydantic import ValidationError

from bridge.cli.console import ERR, complain, watched
from bridge.cli.options import GENERAL, Debug, SettingsFile, TrustSettings
from bridge.errors import BridgeError, InputError
from bridge.pipeline.status import Status, interruptible
from bridge.setting_options import ON_THE_COMMAND_LINE
from bridge.settings import Settings
from bridge.settings_file import read_settings_file, refusal

app = App(
    name="cellpose-fiji",
    help="Cellpose masks to exact ImageJ ROI sets, measured by headless Fiji, per treatment condition.",
    help_format="plaintext",
    version=lambda: importlib.metadata.version("cellpose-fiji-bridge"),
    suppress_keyboard_interrupt=False,
)


@app.meta.default
def _meta(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    settings: SettingsFile = None,
    trust_settings: TrustSettings = False,
    status: Annotated[
        Path | None,
        Parameter(
            group=GENERAL,
            help="Keep this file up to date with how far the command is; a file FILE.cancel beside it stops the command.",
        ),
    ] = None,
    debug: Debug = False,
) -> int:
    if status is None:
        return _answer(tokens, settings, trust_settings, debug)
    try:
        with Status(status) as seen:
            before = watched.set(seen)
            try:
                code = _answer(tokens, settings, trust_settings, debug)
            finally:
                watched.reset(before)
            seen.tell(state={0: "done", 1: "failed", 130: "stopped"}.get(code, "error"))
    except BridgeError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:  # asked to stop when all was done
        return 130
    return code


def _answer(tokens: Sequence[str], settings: Path | None, trusted: bool, debug: bool) -> int:
    if debug:
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
        for noisy in ("matplotlib", "numba", "PIL", "jgo", "urllib3", "cellpose"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        if settings is not None:
            tokens = [*tokens, *_tokens_of(settings, tokens, trusted)]
        with interruptible():
            result = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.UnusedCliTokensError as error:
        more = " ".join(error.unused_tokens or ())
        complain(
            f"command line: more than this command takes (got {more}). Put paths with spaces into quotes; options begin with --."
        )
        return 2
    except cyclopts.MissingArgumentError as error:
        name = error.argument.name if error.argument is not None else "an argument"
        complain(f"{name}: missing (expected a value). Give it: cellpose-fiji {' '.join(error.command_chain or ())} --help says which.")  # fmt: skip
        return 2
    except cyclopts.CycloptsError as error:
        cause = error.__cause__ or error.__context__
        complain(
            str(refusal(cause, "command line")) if isinstance(cause, ValidationError) else " ".join(str(error).split())
        )
        return 2
    except BridgeError as error:
        complain(str(error))
        if debug:
            ERR.print(traceback.format_exc())
        return error.exit_code
    except Exception as error:
        complain(
            f"{type(error).__name__}: {error}. This is a fault of the program: please report it (--debug shows where)."
        )
        if debug:
            ERR.print(traceback.format_exc())
        return 1
    except KeyboardInterrupt:
        complain("stopped; what is done is kept, and the same command resumes there")
        return 130
    return result if isinstance(result, int) else 0


def _tokens_of(path: Path, given: Sequence[str], trusted: bool) -> list[str]:
    """Return what a settings file says as flags, without those that are given on the command line."""
    values = read_settings_file(path)
    known = {field.name for field in dataclasses.fields(Settings)} | {"images", *ON_THE_COMMAND_LINE}
    for name in values:
        if name not in known:
            raise InputError(
                f"{path}: unknown setting (got {name}, expected one of {', '.join(sorted(known))}). Correct the name."
            )
    flags = {token.partition("=")[0].replace("-no-", "-", 1) for token in given if token.startswith("--")}
    plain = Settings()
    for name, why in () if trusted else ON_THE_COMMAND_LINE.items():
        value = values.pop(name, None)
        if value not in (None, getattr(plain, name, None)) and f"--{name}" not in flags:
            raise InputError(
                f"{path}: {name} is not taken from a file, since it {why} (got {value}, expected it on the command line). Type --{name} {value}, or --trust-settings if the file is your own."
            )
    if given[:1] not in (("plan",), ("run",)) or _names_images(given):
        values.pop("images", None)
    tokens: list[str] = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if flag in flags or value is None:
            continue
        if isinstance(value, bool):
            tokens.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            for item in value if isinstance(value, list) else [value]:
                tokens.append(f"{flag}={item}")
    return tokens


def _names_images(given: Sequence[str]) -> bool:
    needs_out = given[0] == "run" and not any(token.startswith("--out") for token in given)
    try:
        app.parse_args([*given, *(["--out=."] if needs_out else [])], exit_on_error=False, print_error=False)
    except cyclopts.MissingArgumentError:
        return False
    except cyclopts.CycloptsError:
        pass  # said again when the command is run
    return True


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 fields failed, 2 usage or input, 3 environment."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that this console has no letters for
    sys.exit(app.meta(sys.argv[1:] if words is None else words))
