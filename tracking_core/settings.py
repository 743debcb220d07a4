"""What an engine is told once, when it is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """One partition's engine. Every duration is in microseconds, every length in metres, every speed in m/s."""

    partitions: int = 1
    """How many partitions the system has; a device's row is its number // partitions."""
    partition: int = 0
    """Which of them this engine folds; it takes only devices whose number % partitions is this."""

    horizon_us: int = 24 * HOUR_US
    """A reading older than the newest counted one by more than this is stale."""
    kept_fixes: int = 64
    """How many stored fixes a device's timeline remembers; one older than all of a full timeline is stale."""
    repairs_late: bool = True
    """Whether fixes that arrive late are put where they belong. It takes 56 bytes for each kept fix; without it they
    are stored as `late` and change nothing."""
    kept_quarantined: int = 4
    """How many fixes with an unbelievable time (future, stale) a device remembers, to know repetitions of them."""
    kept_samples: int = 16
    """The same for each sensor series and for each tag at a reader."""

    future_tolerance_us: int = 5 * MINUTE_US
    """How far a device's clock may run ahead of the log's."""
    highest_speed_mps: float = 150.0
    """Nothing moves faster: a higher measured speed is out of range, a higher implied one is a jump."""
    jump_slack_m: float = 200.0
    """How far a fix may lie beyond what the highest speed explains, the accuracy of both ends not counted."""
    imprecise_m: float = 1000.0
    """A fix with a larger accuracy radius does not say where the device is."""
    repeated_within_us: int = 2 * MINUTE_US
    """A fix with the sequence and content of one that is older by no more than this is `repeated`; 0: that is never
    looked for. It takes `repairs_late`."""

    signal_lost_after_us: int = 15 * MINUTE_US
    """A device without a fix that counts for this long has lost its signal; 0: that is never told."""

    cross_within_us: int = 10 * MINUTE_US
    """Of two fixes farther apart in time than this nobody knows what lies between them ..."""
    cross_within_m: float = 20_000.0
    """... nor of two farther apart than this: no fence was passed through."""

    derive_within_us: int = 15 * MINUTE_US
    """Speed and heading are derived from the fix before only if it is not older than this."""
    heading_after_m: float = 10.0
    """A heading is derived only from a movement at least this long."""

    follows_journeys: bool = True
    """Whether positions are smoothed, metres counted, stops and trips told. It takes 69 bytes for each kept fix."""
    assumed_accuracy_m: float = 10.0
    """The accuracy radius of a fix that has none."""
    velocity_wander_m2_s3: float = 0.5
    """How much velocity changes on its own: the variance that each axis of it gains in a second."""
    stop_radius_m: float = 50.0
    """A device stays at a place while its fixes lie within this, less their accuracy ..."""
    stop_accuracy_cap_m: float = 100.0
    """... of which no more than this counts."""
    stop_clear_m: float = 500.0
    """One fix farther away than this has left; else it takes two in a row."""
    stop_after_us: int = 3 * MINUTE_US
    """A place where the device stays for so long is a stop."""
    trip_departs_m: float = 200.0
    """A trip begins when a device that left a place is this far from it."""
    trip_closes_after_us: int = 5 * MINUTE_US
    """A stop that lasts longer ends the trip."""
    trip_silence_us: int = 30 * MINUTE_US
    """So does a longer silence."""

    kept_places: int = 256
    """How many fixes of each of its devices a proximity remembers."""

    tag_reads: int = 1
    """A tag is present after this many reads ..."""
    tag_reads_within_us: int = 10 * SECOND_US
    """... within this long."""
    tag_silence_us: int = 60 * SECOND_US
    """A tag has departed when it was not read for this long."""

    stale_after_us: int = 15 * MINUTE_US
    """An arrival time resting on an older fix says `stale`."""
    stopped_below_mps: float = 0.5
    """Slower is standing: it says `stopped` and does not slow the pace."""
    off_route_m: float = 250.0
    """Farther from the planned line is off the route."""
    stop_reach_m: float = 100.0
    """A stop counts as passed from this far before it on."""

    def __post_init__(self) -> None:
        """Raises ValueError for a setting that makes no sense."""
        if self.partitions < 1 or not 0 <= self.partition < self.partitions:
            raise ValueError(f"partition {self.partition} of {self.partitions} does not exist")
        for name in ("kept_fixes", "kept_quarantined", "kept_samples", "tag_reads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.kept_places < 2:
            raise ValueError(f"kept_places must be at least 2, not {self.kept_places}")
        if self.signal_lost_after_us < 0:
            raise ValueError(f"signal_lost_after_us must not be below 0, but is {self.signal_lost_after_us}")
        if self.repeated_within_us < 0:
            raise ValueError(f"repeated_within_us must not be below 0, but is {self.repeated_within_us}")
        for name in (
            "horizon_us",
            "tag_silence_us",
            "highest_speed_mps",
            "imprecise_m",
            "assumed_accuracy_m",
            "velocity_wander_m2_s3",
            "stop_radius_m",
            "stop_after_us",
            "trip_silence_us",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.trip_closes_after_us < self.stop_after_us:
            raise ValueError(
                "trip_closes_after_us must not be below stop_after_us: a stop is told before it ends a trip"
            )
