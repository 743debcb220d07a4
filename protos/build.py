"""Generates the wire vocabulary: `python protos/build.py` makes Python, stubs and gRPC code beside every .proto.

Nothing is generated twice: outputs newer than every source are left alone, unless `--force` is given.
"""

from __future__ import annotations

import pathlib
import sys
import sysconfig

ROOT = pathlib.Path(__file__).resolve().parent


def sources() -> list[pathlib.Path]:
    """All .proto files, in a stable order."""
    return sorted((ROOT / "drover").rglob("*.proto"))


def is_current() -> bool:
    """Whether every source has generated code that is newer than all sources and this file."""
    newest = max(path.stat().st_mtime for path in [*sources(), pathlib.Path(__file__)])
    outputs = [path.with_name(path.stem + "_pb2.py") for path in sources()]
    return all(output.is_file() and output.stat().st_mtime >= newest for output in outputs)


def _plugins() -> list[str]:
    """Where the stub generators stand: beside this interpreter, whether or not that is on the PATH."""
    scripts = pathlib.Path(sysconfig.get_path("scripts"))
    names = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    return [f"--plugin={name}={scripts / name}" for name in names if (scripts / name).is_file()]


def build(*, force: bool = False) -> bool:
    """Generates code where needed; returns whether anything was written. Raises SystemExit with protoc's own words."""
    if not force and is_current():
        return False
    from grpc_tools import protoc  # a build requirement, not a runtime one

    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT}",
            f"--proto_path={well_known}",
            f"--python_out={ROOT}",
            f"--mypy_out={ROOT}",
            f"--grpc_python_out={ROOT}",
            f"--mypy_grpc_out={ROOT}",
            *_plugins(),
            *(str(path.relative_to(ROOT)) for path in sources()),
        ],
    )
    if code != 0:
        raise SystemExit(f"protoc failed with exit code {code}")
    return True


if __name__ == "__main__":
    print("protos: generated" if build(force="--force" in sys.argv[1:]) else "protos: up to date")
