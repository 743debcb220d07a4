"""What a Mosquitto could lose, read from its configuration file: the one thing a broker does not tell its clients.

Source: mosquitto.conf(5), version 2.0: the defaults are those of a broker that forgets.
"""

from __future__ import annotations

import pathlib
from typing import Final

from runtime.durability import Finding

_DEFAULT_AUTOSAVE_S: Final = 1_800
_LATE_AUTOSAVE_S: Final = 5
_DEFAULT_QUEUED_MESSAGES: Final = 1_000
_FEW_QUEUED_MESSAGES: Final = 100_000
_INCLUDES_DEPTH: Final = 3


def losses(path: pathlib.Path) -> list[Finding]:
    """One finding for each way to lose; a single `ok` when there is none, a `fail` when the file cannot be read."""
    try:
        options = _options(path, _INCLUDES_DEPTH)
    except (OSError, UnicodeDecodeError) as error:
        return [Finding("fail", "mqtt", f"{path} cannot be read: {error}")]
    findings = []
    if options.get("persistence", "false") != "true":
        text = "a restart of the broker loses what waits for ingest: set `persistence true`"
        findings.append(Finding("fail", "mqtt", text))
    elif options.get("autosave_on_changes", "false") == "true":
        text = "autosave_interval counts changes, not seconds: leave out `autosave_on_changes`"
        findings.append(Finding("warn", "mqtt", text))
    else:
        every_s = _number(options, "autosave_interval", _DEFAULT_AUTOSAVE_S)
        if not 0 < every_s <= _LATE_AUTOSAVE_S:
            lost = "everything since its start" if every_s == 0 else f"the last {every_s} s"
            text = f"a crash of the broker loses {lost} of what waits for ingest: set `autosave_interval 1`"
            findings.append(Finding("warn", "mqtt", text))
    queued = _number(options, "max_queued_messages", _DEFAULT_QUEUED_MESSAGES)
    if 0 < queued < _FEW_QUEUED_MESSAGES:
        text = f"while ingest is away, all but {queued} messages are dropped: set `max_queued_messages 0`"
        findings.append(Finding("fail", "mqtt", text))
    if "persistent_client_expiration" in options:
        text = (
            f"what waits for ingest is dropped after {options['persistent_client_expiration']}: leave out"
            " `persistent_client_expiration`, ingest names an expiry itself"
        )
        findings.append(Finding("warn", "mqtt", text))
    if findings:
        return [finding._replace(text=f"{finding.text} in {path}") for finding in findings]
    return [Finding("ok", "mqtt", f"{path} keeps what the broker accepted")]


def find_config(port: int) -> pathlib.Path | None:
    """The configuration file of the Mosquitto on this machine that listens on `port`, if it can be seen."""
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if not arguments[0].endswith("mosquitto") or "-c" not in arguments[:-1]:
                continue
            path = pathlib.Path((folder / "cwd").readlink(), arguments[arguments.index("-c") + 1])
            if _listens(_options(path, _INCLUDES_DEPTH), port):
                return path
        except (OSError, UnicodeDecodeError):
            continue  # it ended meanwhile, or belongs to somebody else
    return None


def _listens(options: dict[str, str], port: int) -> bool:
    return str(port) in {options.get("listener", "").split(" ")[0], options.get("port", "")}


def _options(path: pathlib.Path, depth: int) -> dict[str, str]:
    """The last value of every option; of `include_dir` the files in the order in which Mosquitto reads them."""
    options: dict[str, str] = {}
    for line in path.read_text().splitlines():
        name, _, value = line.strip().partition(" ")
        if not name or name.startswith("#"):
            continue
        if name == "include_dir" and depth:
            for each in sorted(pathlib.Path(value.strip()).glob("*.conf")):
                options |= _options(each, depth - 1)
        else:
            options[name] = value.strip()
    return options


def _number(options: dict[str, str], name: str, default: int) -> int:
    value = options.get(name, "")
    return int(value) if value.isdecimal() else default
