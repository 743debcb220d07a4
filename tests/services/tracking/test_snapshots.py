from __future__ import annotations

import pathlib
import resource

import pytest

from services.tracking.snapshots import DamagedSnapshotError, Snapshot, SnapshotFolder, decode, encode


def offsets(folder: SnapshotFolder, partition: int = 0) -> list[str]:
    return [snapshot.offset for snapshot in folder.read(partition)]


def test_the_last_two_are_kept_newest_first(tmp_path: pathlib.Path):
    folder = SnapshotFolder(tmp_path / "deep" / "er")
    assert folder.read(0) == []
    assert folder.oldest_offset(0) is None
    folder.write(Snapshot(0, "9-0", "", b"nine"))
    assert folder.oldest_offset(0) is None, "one alone may turn out damaged: the whole log is still needed"
    folder.write(Snapshot(0, "10-0", "", b"ten"))
    folder.write(Snapshot(0, "10-2", "10-1/3", b"more"))
    folder.write(Snapshot(1, "3-0", "", b"other"))
    assert folder.read(0) == [Snapshot(0, "10-2", "10-1/3", b"more"), Snapshot(0, "10-0", "", b"ten")]
    assert folder.oldest_offset(0) == "10-0"
    assert offsets(folder, 1) == ["3-0"]


def test_on_a_full_disk_nothing_changes(tmp_path: pathlib.Path):
    folder = SnapshotFolder(tmp_path)
    folder.write(Snapshot(0, "9-0", "", b"nine"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            folder.write(Snapshot(0, "10-0", "", bytes(1000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["0-9-0.snapshot"]
    folder.write(Snapshot(0, "11-0", "", bytes(1000)))
    assert offsets(folder) == ["11-0", "9-0"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign", "header"])
def test_a_damaged_newest_one_falls_back_to_the_one_before(tmp_path: pathlib.Path, damage: str):
    folder = SnapshotFolder(tmp_path)
    folder.write(Snapshot(0, "1-0", "", b"one" * 100))
    folder.write(Snapshot(0, "2-0", "", b"two" * 100))
    path = tmp_path / "0-2-0.snapshot"
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-1]
    elif damage == "flip":
        data[-50] ^= 1
    elif damage == "empty":
        data.clear()
    elif damage == "foreign":
        data = bytearray(b"".join(encode(Snapshot(1, "2-0", "", b"x"))))
    else:
        data[20] ^= 1
    path.write_bytes(data)
    assert offsets(folder) == ["1-0"]
    assert (tmp_path / "0-2-0.damaged").exists()
    folder.write(Snapshot(0, "3-0", "", b"three"))
    assert offsets(folder) == ["3-0", "1-0"]


def test_a_draft_left_by_a_crash_is_no_snapshot(tmp_path: pathlib.Path):
    folder = SnapshotFolder(tmp_path)
    folder.write(Snapshot(0, "1-0", "", b"one"))
    (tmp_path / "0-2-0.draft").write_bytes(b"half")
    assert offsets(folder) == ["1-0"]


def test_a_file_of_another_kind_is_refused():
    with pytest.raises(DamagedSnapshotError, match="begin"):
        decode(b"x" * 500, 0)
