from __future__ import annotations

import pathlib

import pydantic
import pytest

from runtime.settings import CommonSettings, Settings, SettingsError, load


class Engine(Settings):
    cylinders: int = pydantic.Field(4, ge=1)
    fuel_url: str = "diesel"


SECTIONS: dict[str, type[Settings]] = {"common": CommonSettings, "engine": Engine}


def write(folder: pathlib.Path, text: str) -> pathlib.Path:
    file = folder / "drover.toml"
    file.write_text(text)
    return file


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(tmp_path: pathlib.Path) -> None:
    file = write(tmp_path, 'log_level = "debug"\n[engine]\ncylinders = 6\nfuel_url = "petrol"\n')
    loaded = load(SECTIONS, file=file, environ={"DROVER_ENGINE_CYLINDERS": "8", "HOME": "/"})
    common, engine = loaded["common"], loaded["engine"]
    assert isinstance(common, CommonSettings)
    assert isinstance(engine, Engine)
    assert (common.log_level, common.partitions, engine.cylinders, engine.fuel_url) == ("debug", 4, 8, "petrol")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('log_levle = "debug"', "log_levle; did you mean log_level?"),
        ("[engine]\ncylindres = 3", r"\[engine\] cylindres; did you mean cylinders?"),
        ("[engines]\ncylinders = 3", r"section \[engines\]; did you mean engine?"),
        ("[engine]\ncylinders = 0", "engine.cylinders: Input should be greater"),
        ("partitions = 'many'", "setting partitions: "),
        ("partitions = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: pathlib.Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        load(SECTIONS, file=write(tmp_path, text), environ={})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("DROVER_ENGINE_CYLINDER", "did you mean DROVER_ENGINE_CYLINDERS?"),
        ("DROVER_PARTITION", "did you mean DROVER_PARTITIONS?"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(variable: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(SECTIONS, environ={variable: "1"})


def test_other_sections_are_passed_over(tmp_path: pathlib.Path) -> None:
    file = write(tmp_path, "[gateway]\nport = 1\n")
    loaded = load(SECTIONS, file=file, environ={"DROVER_GATEWAY_PORT": "1"}, others=frozenset({"gateway"}))
    assert set(loaded) == {"common", "engine"}


def test_secrets_do_not_show() -> None:
    loaded = load(SECTIONS, environ={"DROVER_REDIS_URL": "redis://:hunter2@localhost/0"})
    assert "hunter2" not in repr(loaded)
