"""What a Mosquitto could lose, by its configuration file; and the files that Drover ships and writes."""

from __future__ import annotations

import pathlib

import pytest

from ingest.mqtt.mosquitto_config import find_config, losses
from stack import embedded
from tests.servers.mosquitto import Mosquitto

_SOUND = "persistence true\nautosave_interval 1\nmax_queued_messages 0\n"


@pytest.mark.parametrize(
    ("text", "levels", "cure"),
    [
        (_SOUND, ["ok"], ""),
        ("  persistence true\n\n# max_queued_messages 5\nautosave_interval 1\nmax_queued_messages 0\n", ["ok"], ""),
        ("", ["fail", "fail"], "`persistence true`"),
        (_SOUND + "autosave_interval 0\n", ["warn"], "everything since its start"),
        ("persistence true\nmax_queued_messages 0\n", ["warn"], "the last 1800 s"),
        (_SOUND + "autosave_on_changes true\n", ["warn"], "`autosave_on_changes`"),
        (_SOUND + "max_queued_messages 1000\n", ["fail"], "all but 1000 messages are dropped"),
        (_SOUND + "persistent_client_expiration 1d\n", ["warn"], "after 1d"),
    ],
)
def test_one_line_for_each_way_to_lose(tmp_path: pathlib.Path, text: str, levels: list[str], cure: str) -> None:
    config = tmp_path / "mosquitto.conf"
    config.write_text(text)
    found = losses(config)
    assert [finding.level for finding in found] == levels
    assert cure in found[0].text
    assert all(str(config) in finding.text for finding in found)


def test_included_files_count(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "queue.conf").write_text("max_queued_messages 10\n")
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"{_SOUND}include_dir {folder}\n")
    assert "all but 10 " in losses(config)[0].text


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    assert losses(tmp_path / "none.conf")[0].level == "fail"


def test_what_drover_ships_and_writes_is_sound(tmp_path: pathlib.Path) -> None:
    root = pathlib.Path(__file__).resolve().parent.parent.parent.parent
    embedded.mqtt(tmp_path, tmp_path, "127.0.0.1", 1883)
    for config in (root / "deploy" / "mosquitto.conf", tmp_path / "mosquitto.conf"):
        assert [finding.level for finding in losses(config)] == ["ok"], losses(config)


@pytest.mark.server
def test_the_file_of_a_running_broker_is_found(mosquitto: Mosquitto) -> None:
    assert find_config(mosquitto.port) == mosquitto.config
    assert find_config(1) is None
