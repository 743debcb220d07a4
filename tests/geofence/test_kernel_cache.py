"""Machine code is kept apart for every state of all the sources it was made from."""

from __future__ import annotations

import pathlib

import pytest

from geofence import kernel_cache


class Tree:
    """Source files of a make-believe checkout."""

    def __init__(self, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        monkeypatch.setattr(kernel_cache, "_ROOT", root)
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        self.forget()

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def folder(self, name: str) -> str | None:
        """As a fresh process would say."""
        self.forget()
        return kernel_cache.folder_of(str(self.root / name))

    @staticmethod
    def forget() -> None:
        for cached in (kernel_cache._digest, kernel_cache._imports, kernel_cache._content, kernel_cache._forget_old):
            cached.cache_clear()


@pytest.fixture
def tree(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    tree = Tree(tmp_path.resolve(), monkeypatch)
    tree.write("geofence/compiled.py", "LAYOUT = 1\n")
    tree.write("geofence/lookup.py", "from geofence.compiled import (\n    LAYOUT,\n)\nimport numpy\n")
    tree.write("geofence/planar.py", "")
    tree.write("tracking_core/stage.py", "from geofence import planar, lookup\n")
    yield tree
    Tree.forget()


def test_a_change_anywhere_below_moves_the_folder(tree: Tree) -> None:
    files = ["geofence/compiled.py", "geofence/lookup.py", "geofence/planar.py", "tracking_core/stage.py"]
    before = {name: tree.folder(name) for name in files}
    assert before == {name: tree.folder(name) for name in files}
    assert all(name is not None for name in before.values())
    tree.write("geofence/compiled.py", "LAYOUT = 2\n")
    changed = {name for name in files if tree.folder(name) != before[name]}
    assert changed == {"geofence/compiled.py", "geofence/lookup.py", "tracking_core/stage.py"}
    tree.write("geofence/compiled.py", "LAYOUT = 1\n")
    assert before == {name: tree.folder(name) for name in files}


def test_files_that_import_each_other_have_an_end(tree: Tree) -> None:
    tree.write("geofence/planar.py", "from geofence.lookup import a\n")
    tree.write("geofence/lookup.py", "from geofence.planar import b\n")
    assert tree.folder("geofence/planar.py") is not None


def test_other_files_are_left_to_numba(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> None:
    tree.write("services/page.py", "")
    assert tree.folder("services/page.py") is None
    assert kernel_cache.folder_of(str(tmp_path_factory.mktemp("else") / "x.py")) is None
    assert kernel_cache.folder_of("<string>") is None


def test_a_given_folder_is_used(tree: Tree, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "given"))
    folder = tree.folder("geofence/planar.py")
    assert folder is not None
    assert pathlib.Path(folder).parent == tmp_path / "given"


def test_only_the_newest_are_kept(tree: Tree) -> None:
    folders = []
    for state in range(6):
        tree.write("geofence/planar.py", f"# {state}\n")
        folder = tree.folder("geofence/planar.py")
        assert folder is not None
        folders.append(pathlib.Path(folder))
        folders[-1].mkdir(parents=True)
    tree.folder("geofence/planar.py")
    assert [folder.exists() for folder in folders] == [False, False, False, True, True, True]


def test_files_of_one_name_do_not_forget_each_other(tree: Tree) -> None:
    folders = []
    for room in ("pairs", "routes", "sensors", "tags", "journeys"):
        tree.write("tracking_core/__init__.py", "")
        tree.write(f"tracking_core/{room}/table.py", f"# {room}\n")
        folder = tree.folder(f"tracking_core/{room}/table.py")
        assert folder is not None
        folders.append(pathlib.Path(folder))
        folders[-1].mkdir(parents=True)
    tree.folder("tracking_core/tags/table.py")
    assert all(folder.exists() for folder in folders)
