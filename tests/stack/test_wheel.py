"""What is in the wheel: all that `drover` needs on a machine that has no source, and nothing that it does not."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).parents[2]


def test_a_wheel_has_the_code_the_page_and_the_wire_vocabulary_and_nothing_else(tmp_path: pathlib.Path) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())

    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {
        "drover", "gateway", "geofence", "ingest", "runtime", "services", "simulators", "stack", "tracking_core",
    }  # fmt: skip
    assert "gateway/live_map/dist/index.html" in names
    assert any(name.startswith("gateway/live_map/dist/assets/") and name.endswith(".js") for name in names)
    for room in ("runtime", "geofence", "tracking_core", "ingest", "services", "gateway", "simulators", "stack"):
        sources = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / room).rglob("*.py")
            if "node_modules" not in path.parts
        }
        assert sources <= names, f"not in the wheel: {sorted(sources - names)}"
    for proto in (ROOT / "protos/drover").rglob("*.proto"):
        generated = proto.relative_to(ROOT / "protos").with_suffix("").as_posix() + "_pb2.py"
        assert generated in names
    assert not [name for name in names if "node_modules" in name or name.endswith((".ts", ".tsx", ".map"))]
