"""Where the machine code of a kernel is cached: a folder named after all the sources it was made from.

numba keeps a function's machine code until the file of that function changes. A kernel also contains what it calls, and
the constants it read, in other files: when only those change, numba goes on with the old code, which then reads new
arrays by old rules (seen: look-ups ten thousand times too slow, and a crash, after the index of fences had got another
layout). So the folder's name is a digest of the kernel's file and of every file of these rooms that it imports,
directly or not.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import re
import shutil
from typing import Final

ROOMS: Final = ("geofence", "tracking_core", "ingest", "gateway")
"""The folders beside this one that have kernels."""

_ROOT: Final = pathlib.Path(__file__).resolve().parent.parent
_IMPORT: Final = re.compile(rf"^\s*(?:from|import) ((?:{'|'.join(ROOMS)})(?:\.\w+)*)(?: import (.*))?", re.MULTILINE)
_KEPT: Final = 3
"""How many folders of a source file are kept, the newest; older ones are of sources that have changed since."""


def folder_of(file: str) -> str | None:
    """The folder for kernels of a source file, under that folder which NUMBA_CACHE_DIR names or else the room's
    `__pycache__`; None for a file of no room, whose cache is left to numba.
    """
    path = pathlib.Path(file).resolve()
    if path.parent.parts[: len(_ROOT.parts)] != _ROOT.parts or path.relative_to(_ROOT).parts[0] not in ROOMS:
        return None
    room, *within = path.relative_to(_ROOT).with_suffix("").parts
    given = os.environ.get("NUMBA_CACHE_DIR")
    base = pathlib.Path(given) if given else _ROOT / room / "__pycache__"
    name = ".".join(within)  # files of one name in different folders do not forget each other
    _forget_old(base, f"kernels-{name}-")
    return str(base / f"kernels-{name}-{_digest(path)}")


@functools.cache
def _digest(path: pathlib.Path) -> str:
    """Of the contents of a file and of all it imports."""
    digest = hashlib.blake2b(digest_size=10)
    for source in sorted(_imported(path)):
        digest.update(source.relative_to(_ROOT).as_posix().encode() + b"\0" + _content(source) + b"\0")
    return digest.hexdigest()


def _imported(path: pathlib.Path) -> set[pathlib.Path]:
    """The file and every file of the rooms that it imports, directly or not."""
    found, waiting = {path}, [path]
    while waiting:
        for imported in _imports(waiting.pop()) - found:
            found.add(imported)
            waiting.append(imported)
    return found


@functools.cache
def _imports(path: pathlib.Path) -> frozenset[pathlib.Path]:
    """The files of the rooms that a file imports itself."""
    found = set()
    for module, names in _IMPORT.findall(_content(path).decode()):
        folder = _ROOT.joinpath(*module.split("."))
        candidates = [folder.with_suffix(".py"), folder / "__init__.py"]
        candidates += [folder / f"{name}.py" for name in re.findall(r"\w+", names)]
        found |= {candidate for candidate in candidates if candidate.is_file()}
    return frozenset(found)


@functools.cache
def _content(path: pathlib.Path) -> bytes:
    return path.read_bytes()


@functools.cache
def _forget_old(base: pathlib.Path, prefix: str) -> None:
    """Removes all but the newest folders, once a process. Another process may do the same: nothing is an error."""
    try:
        folders = sorted(base.glob(f"{prefix}*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    except OSError:
        return
    for folder in folders[_KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
