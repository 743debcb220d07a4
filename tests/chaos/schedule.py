"""Which faults happen and when, drawn from a seed and from nothing else."""

from __future__ import annotations

import random
from typing import Final, Literal, NamedTuple

from tests.servers.fault_proxy import Weather

Database = Literal["sqlite", "mariadb"]
Victim = Literal["ingest", "tracking", "redis", "broker", "mariadb"]
Link = Literal["ingest-broker", "ingest-redis", "tracking-redis", "sender-ingest", "ingest-mariadb", "tracking-mariadb"]

LOAD_S: Final = 3.0
"""How long devices send, and so when faults happen."""

POINTS: Final = ("before_append", "after_append", "before_ack", "after_ack")


class Dies(NamedTuple):
    """Ingest is killed, as by kill -9, when it comes to a point of its code for the `nth` time since a fresh start."""

    at_s: float
    point: str
    nth: int
    away_s: float


class Killed(NamedTuple):
    """A process is killed by kill -9 and started again after `away_s`."""

    at_s: float
    victim: Victim
    away_s: float


class Stopped(NamedTuple):
    """A process is asked to stop (SIGTERM), must do so in its grace time, and is started again after `away_s`."""

    at_s: float
    victim: Victim
    away_s: float


class Forgets(NamedTuple):
    """The broker is killed, and with it goes all that it had on disk: sessions and messages that wait."""

    at_s: float
    away_s: float


class TakenOver(NamedTuple):
    """Another client comes to the broker under ingest's name, takes what it is sent, acknowledges none, and leaves."""

    at_s: float
    for_s: float


class Cut(NamedTuple):
    """All connections of a link end, by RST or by FIN."""

    at_s: float
    link: Link
    is_reset: bool


class Storm(NamedTuple):
    """A link has bad weather for a while."""

    at_s: float
    link: Link
    for_s: float
    weather: Weather


Fault = Dies | Killed | Stopped | Forgets | TakenOver | Cut | Storm


class Schedule(NamedTuple):
    """One run."""

    seed: int
    database: Database
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, on {self.database}:"]
        for fault in self.faults:
            kind, *rest = (f"{name}={value}" for name, value in fault._asdict().items())
            lines.append(f"  {type(fault).__name__} {kind} {' '.join(rest)}".replace("Weather", ""))
        return "\n".join(lines)


def draw(seed: int) -> Schedule:
    """The schedule of a seed: every fourth on MariaDB, the others on SQLite; two to four faults each."""
    chance = random.Random(f"drover chaos {seed}")
    database: Database = "mariadb" if seed % 4 == 3 else "sqlite"
    faults = [_fault(chance, database) for _ in range(chance.randint(2, 4))]
    return Schedule(seed, database, tuple(sorted(faults, key=lambda fault: fault.at_s)))


def _fault(chance: random.Random, database: Database) -> Fault:
    at_s = round(chance.uniform(0.2, LOAD_S), 2)
    away_s = round(chance.choice((0.0, chance.uniform(0.1, 1.0))), 2)
    victims: list[Victim] = ["ingest", "tracking", "redis", "broker"]
    links: list[Link] = ["ingest-broker", "ingest-broker", "ingest-redis", "tracking-redis", "sender-ingest"]
    if database == "mariadb":
        victims += ["mariadb", "mariadb"]
        links += ["ingest-mariadb", "tracking-mariadb", "tracking-mariadb"]
    kind = chance.choices(("dies", "killed", "stopped", "forgets", "taken", "cut", "storm"), (3, 4, 2, 1, 1, 3, 4))[0]
    if kind == "dies":
        return Dies(at_s, chance.choice(POINTS), chance.choice((1, chance.randint(2, 30))), away_s)
    if kind == "killed":
        return Killed(at_s, chance.choice(victims), away_s)
    if kind == "stopped":
        return Stopped(at_s, chance.choice(victims), away_s)
    if kind == "forgets":
        return Forgets(at_s, away_s)
    if kind == "taken":
        return TakenOver(at_s, round(chance.uniform(0.05, 0.5), 2))
    link = chance.choice(links)
    if kind == "cut":
        return Cut(at_s, link, chance.random() < 0.5)
    return Storm(at_s, link, round(chance.uniform(0.3, 1.5), 2), _weather(chance))


def _weather(chance: random.Random) -> Weather:
    return chance.choice((
        Weather(is_silent=True),
        Weather(delay_s=round(chance.uniform(0.02, 0.3), 2)),
        Weather(bytes_per_s=round(chance.uniform(5_000, 100_000))),
        Weather(largest_piece=chance.choice((1, 2, 7, 100, 1000))),
    ))  # fmt: skip
