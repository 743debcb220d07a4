"""What every benchmark prints, and how a ratio is measured: pairs of runs, ours beside the peer, median and spread.

A benchmark is a module with `if __name__ == "__main__": main("name", run)`, where `run(options)` yields a `Result` a
case. With `--json` standard output is one object and nothing else; progress and the table go to standard error:

    {"benchmark": NAME, "commit": ..., "machine": ..., "results": [{"case": ..., "ours": ..., "peer": ..., "unit": ...,
     "ratio": ..., "spread": ..., "checked": true}]}

`peer`, `ratio` and `spread` are null where DESIGN 7 names no peer. A wrong answer makes the process exit 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple


@dataclasses.dataclass(frozen=True)
class Options:
    """How to run. `quick`: every case, smaller, done within 30 seconds in all."""

    quick: bool
    case: str | None

    def wants(self, case: str) -> bool:
        """Whether `--case` allows this case."""
        return self.case is None or self.case == case


@dataclasses.dataclass(frozen=True)
class Result:
    """One case. `ours` and `peer` are medians in `unit`; `ratio` is the median of paired ratios, > 1: ours is better.

    `spread` is the interquartile range of the paired ratios divided by their median. `checked` says that the answers
    were compared and right. `notes` are further figures (counts, sizes, the time of a stage).
    """

    case: str
    ours: float
    peer: float | None
    unit: str
    ratio: float | None
    spread: float | None
    checked: bool
    notes: Mapping[str, float | int | str] = dataclasses.field(default_factory=dict)


class Pair(NamedTuple):
    """Seconds of one run of ours and of the peer, measured one right after the other."""

    ours_s: float
    peer_s: float


def measure_s(work: Callable[[], object]) -> float:
    """Seconds of wall clock that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_pairs(
    ours: Callable[[], object], peer: Callable[[], object], *, pairs: int = 5, warm_up: bool = True
) -> list[Pair]:
    """Runs ours and peer in turn, the order changing from pair to pair so that drift of the machine favours neither."""
    if warm_up:
        ours()
        peer()
    measured: list[Pair] = []
    for turn in range(pairs):
        if turn % 2 == 0:
            ours_s = measure_s(ours)
            peer_s = measure_s(peer)
        else:
            peer_s = measure_s(peer)
            ours_s = measure_s(ours)
        measured.append(Pair(ours_s, peer_s))
    return measured


def spread_of(values: list[float]) -> float:
    """Interquartile range over median; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return (third - first) / statistics.median(values)


def rate_result(
    case: str,
    pairs: list[Pair],
    *,
    count: int,
    peer_count: int | None = None,
    unit: str,
    checked: bool,
    notes: Mapping[str, float | int | str] | None = None,
) -> Result:
    """A case whose figure is a rate (`unit` such as `points/s`): `count` things a run of ours, `peer_count` of its."""
    of_peer = count if peer_count is None else peer_count
    ratios = [(count / pair.ours_s) / (of_peer / pair.peer_s) for pair in pairs]
    return Result(
        case=case,
        ours=statistics.median(count / pair.ours_s for pair in pairs),
        peer=statistics.median(of_peer / pair.peer_s for pair in pairs),
        unit=unit,
        ratio=statistics.median(ratios),
        spread=spread_of(ratios),
        checked=checked,
        notes=notes or {},
    )


def commit() -> str:
    """The commit that is measured, `+` behind it when the work tree differs; `unknown` outside a repository."""
    root = pathlib.Path(__file__).resolve().parent.parent
    try:
        head = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+" if changes else head


def machine() -> str:
    """Processor, cores and Python, in one line, without a host name."""
    model = platform.processor() or platform.machine()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def progress(message: str) -> None:
    """One line on standard error."""
    print(message, file=sys.stderr, flush=True)


def as_document(name: str, results: Iterable[Result]) -> dict[str, object]:
    """The object that `--json` prints."""
    return {
        "benchmark": name,
        "commit": commit(),
        "machine": machine(),
        "results": [dataclasses.asdict(result) for result in results],
    }


def describe(result: Result) -> str:
    """A case as one line for people."""
    line = f"{result.case:32} ours {result.ours:14,.1f} {result.unit}"
    if result.peer is not None and result.ratio is not None and result.spread is not None:
        line += f"   peer {result.peer:14,.1f}   ratio {result.ratio:8.2f} (spread {result.spread:.0%})"
    for note, value in result.notes.items():
        line += f"   {note} {value:,.2f}" if isinstance(value, float) else f"   {note} {value}"
    return line + ("" if result.checked else "   WRONG ANSWER")


def main(name: str, run: Callable[[Options], Iterable[Result]]) -> None:
    """Parses `--json`, `--quick` and `--case`, runs, prints; exits 1 when an answer was wrong or no case ran."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser.add_argument("--quick", action="store_true", help="smaller cases, at most 30 seconds")
    parser.add_argument("--case", help="only this case")
    arguments = parser.parse_args()
    results: list[Result] = []
    for result in run(Options(quick=arguments.quick, case=arguments.case)):
        results.append(result)
        progress(describe(result))
    if arguments.json:
        print(json.dumps(as_document(name, results), indent=2))
    sys.exit(0 if results and all(result.checked for result in results) else 1)
