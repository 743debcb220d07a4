"""`python -m tests.chaos`: schedules of many seeds, one after the other, with a summary. `make chaos` runs 100."""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import sys
import tempfile
import time
import traceback
from typing import get_args

from tests.chaos.run import run
from tests.chaos.schedule import Database, draw
from tests.chaos.stage import Stage


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int, action="append", help="this one only; may be said several times")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which no schedule is begun")
    parser.add_argument("--folder", type=pathlib.Path, help="for data and logs, kept; a temporary one by default")
    return parser.parse_args()


async def _all(seeds: list[int], folder: pathlib.Path, minutes: float) -> int:
    """Runs the schedules of each database on a stage of their own; a stage on which one failed is left behind."""
    deadline_s = time.monotonic() + 60 * minutes
    failed: list[int] = []
    passed = forgiven = stages = 0
    for database in get_args(Database):
        left = [schedule for seed in seeds if (schedule := draw(seed)).database == database]
        while left and time.monotonic() < deadline_s:
            stages += 1
            stage = Stage(folder / f"stage-{stages}", database)
            begun_s = time.monotonic()
            async with stage.started():
                print(f"stage on {database} in {time.monotonic() - begun_s:.1f} s", flush=True)
                while left and time.monotonic() < deadline_s:
                    schedule = left.pop(0)
                    begun_s = time.monotonic()
                    try:
                        verdict = await run(schedule, stage)
                        is_sound, said = verdict.is_sound, str(verdict)
                        forgiven += verdict.forgiven
                    except (AssertionError, TimeoutError, ExceptionGroup) as error:
                        is_sound, said = False, "".join(traceback.format_exception(error))
                    print(f"seed {schedule.seed:4d}  {time.monotonic() - begun_s:5.1f} s  {said}", flush=True)
                    if is_sound:
                        passed += 1
                        continue
                    failed.append(schedule.seed)
                    print(f"{schedule}\n  once more: python -m tests.chaos --seed {schedule.seed}", flush=True)
                    break
    print(f"{passed} of {len(seeds)} seeds passed, {len(failed)} failed {failed or ''}", flush=True)
    print(f"{forgiven} readings were lost by a broker that was killed, within what its configuration promises")
    return 0 if passed == len(seeds) else 1


def main() -> int:
    """The exit code."""
    chosen = _arguments()
    seeds = chosen.seed or list(range(chosen.first, chosen.first + chosen.seeds))
    if chosen.folder is not None:
        return asyncio.run(_all(seeds, chosen.folder, chosen.minutes))
    with tempfile.TemporaryDirectory(prefix="drover-chaos-") as folder:
        pathlib.Path(folder).chmod(0o755)  # servers that drop their privileges must get in
        return asyncio.run(_all(seeds, pathlib.Path(folder), chosen.minutes))


if __name__ == "__main__":
    sys.exit(main())
