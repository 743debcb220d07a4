"""Where a device most likely is and how it moves: a Kalman filter of constant velocity, in closed form.

The two axes of a local plane are alike, in noise and in model, so they share one covariance of position and velocity:
two by two numbers, three of them different, and no matrix is inverted. The velocity wanders (white acceleration of
constant spectral density). Source: Y. Bar-Shalom, X. R. Li, T. Kirubarajan, "Estimation with Applications to Tracking
and Navigation" (2001), section 6.2.2 for the model, 5.2.3 for the filter.

The plane lies at the last estimate. Near a pole, where longitude turns fast, it is that of the pole.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from geofence.geodesy import ECCENTRICITY_SQUARED, EQUATORIAL_RADIUS_M, wrap_degrees
from geofence.kernel import scalar_kernel

_DEG: Final = math.pi / 180.0
_POLAR_DEG: Final = 85.0
"""From here on the plane of the pole is used: within 0.13 % it is true there."""
_METRES_A_POLAR_DEGREE: Final = 111_690.0
_AXIS_OF_CIRCLE: Final = 1.0 / (-2.0 * math.log(1.0 - 0.68))
"""The variance of one axis, where the circle that holds 68 % has radius 1."""
_LEAST_ACCURACY_M: Final = 1.0
_STARTING_MPS: Final = 15.0
"""How fast a device may be, as a standard deviation an axis, when nothing but a place is known of it."""


class SmoothingRules(NamedTuple):
    """The settings of the filter, as numbers for the kernel."""

    assumed_accuracy_m: float
    """For a fix without an accuracy."""
    wander_m2_s3: float
    """Variance that the velocity of an axis gains in a second."""
    within_us: int
    """After a longer gap the filter begins anew."""


class SmoothedMotion(NamedTuple):
    """Position, velocity, and the covariance that both axes have: of position, of position and velocity, of velocity.
    Degrees, metres, seconds.
    """

    latitude_deg: float
    longitude_deg: float
    north_mps: float
    east_mps: float
    position_m2: float
    mixed_m2_s: float
    velocity_m2_s2: float


@scalar_kernel
def axis_variance_m2(accuracy_m: float, rules: SmoothingRules) -> float:
    """Variance of a fix along one axis. An accuracy that is NaN, or not above 0, is unknown."""
    accuracy = accuracy_m if accuracy_m > 0.0 else rules.assumed_accuracy_m
    accuracy = max(accuracy, _LEAST_ACCURACY_M)
    return accuracy * accuracy * _AXIS_OF_CIRCLE


@scalar_kernel
def metres_a_degree(latitude_deg: float) -> tuple[float, float]:
    """How long a degree is, north and east."""
    sin_latitude = math.sin(latitude_deg * _DEG)
    w2 = 1.0 - ECCENTRICITY_SQUARED * sin_latitude * sin_latitude
    normal_m = EQUATORIAL_RADIUS_M / math.sqrt(w2)
    meridian_m = normal_m * (1.0 - ECCENTRICITY_SQUARED) / w2
    return meridian_m * _DEG, normal_m * math.sqrt(1.0 - sin_latitude * sin_latitude) * _DEG


@scalar_kernel
def begin_smoothing(latitude_deg: float, longitude_deg: float, variance_m2: float) -> SmoothedMotion:
    """At a place that is known this well; nothing is known of the velocity."""
    return SmoothedMotion(latitude_deg, longitude_deg, 0.0, 0.0, variance_m2, 0.0, _STARTING_MPS * _STARTING_MPS)


@scalar_kernel
def at_rest(latitude_deg: float, longitude_deg: float, variance_m2: float) -> SmoothedMotion:
    """At a place that is known this well, standing."""
    return SmoothedMotion(latitude_deg, longitude_deg, 0.0, 0.0, variance_m2, 0.0, 1.0)


@scalar_kernel
def polar_plane(latitude_deg: float, longitude_deg: float) -> tuple[float, float]:
    """A place in the plane of the nearer pole: metres towards longitude 90 and towards longitude 0."""
    radius_m = (90.0 - abs(latitude_deg)) * _METRES_A_POLAR_DEGREE
    return radius_m * math.sin(longitude_deg * _DEG), radius_m * math.cos(longitude_deg * _DEG)


@scalar_kernel
def from_polar_plane(x_m: float, y_m: float, northern: bool) -> tuple[float, float]:  # noqa: FBT001 - kernels know no keywords
    """The inverse of `polar_plane`."""
    latitude_deg = 90.0 - math.sqrt(x_m * x_m + y_m * y_m) / _METRES_A_POLAR_DEGREE
    longitude_deg = wrap_degrees(math.atan2(x_m, y_m) / _DEG)
    return (latitude_deg if northern else -latitude_deg), longitude_deg


@scalar_kernel
def turned(longitude_deg: float, along: float, outward: float) -> tuple[float, float]:
    """A vector in the plane of a pole, from its parts along the parallel, eastward, and away from the pole."""
    sin_longitude = math.sin(longitude_deg * _DEG)
    cos_longitude = math.cos(longitude_deg * _DEG)
    return along * cos_longitude + outward * sin_longitude, outward * cos_longitude - along * sin_longitude


@scalar_kernel
def smooth(
    motion: SmoothedMotion,
    elapsed_us: int,
    latitude_deg: float,
    longitude_deg: float,
    accuracy_m: float,
    rules: SmoothingRules,
) -> SmoothedMotion:
    """The motion after a fix this long after the last; it begins anew where that is longer than the rules allow."""
    variance_m2 = axis_variance_m2(accuracy_m, rules)
    if not 0 < elapsed_us <= rules.within_us:
        return begin_smoothing(latitude_deg, longitude_deg, variance_m2)
    elapsed_s = elapsed_us * 1e-6
    wander = rules.wander_m2_s3 * elapsed_s
    position_m2 = (
        motion.position_m2
        + elapsed_s * (2.0 * motion.mixed_m2_s + elapsed_s * motion.velocity_m2_s2)
        + wander * elapsed_s * elapsed_s / 3.0
    )
    mixed_m2_s = motion.mixed_m2_s + elapsed_s * motion.velocity_m2_s2 + wander * elapsed_s / 2.0
    velocity_m2_s2 = motion.velocity_m2_s2 + wander
    position_gain = position_m2 / (position_m2 + variance_m2)
    velocity_gain = mixed_m2_s / (position_m2 + variance_m2)

    polar = abs(motion.latitude_deg) > _POLAR_DEG or abs(latitude_deg) > _POLAR_DEG
    polar = polar and motion.latitude_deg * latitude_deg > 0.0
    northern = latitude_deg > 0.0
    # x and y are east and north, or those of the pole's plane.
    x_mps, y_mps = motion.east_mps, motion.north_mps
    if polar:
        away_mps = -motion.north_mps if northern else motion.north_mps
        x_mps, y_mps = turned(motion.longitude_deg, motion.east_mps, away_mps)
        from_x_m, from_y_m = polar_plane(motion.latitude_deg, motion.longitude_deg)
        to_x_m, to_y_m = polar_plane(latitude_deg, longitude_deg)
        measured_x_m, measured_y_m = to_x_m - from_x_m, to_y_m - from_y_m
        north_m, east_m = 1.0, 1.0
    else:
        from_x_m, from_y_m = 0.0, 0.0
        north_m, east_m = metres_a_degree(0.5 * (motion.latitude_deg + latitude_deg))
        measured_x_m = wrap_degrees(longitude_deg - motion.longitude_deg) * east_m
        measured_y_m = (latitude_deg - motion.latitude_deg) * north_m
    ahead_x_m, ahead_y_m = x_mps * elapsed_s, y_mps * elapsed_s
    x_m = ahead_x_m + position_gain * (measured_x_m - ahead_x_m)
    y_m = ahead_y_m + position_gain * (measured_y_m - ahead_y_m)
    x_mps += velocity_gain * (measured_x_m - ahead_x_m)
    y_mps += velocity_gain * (measured_y_m - ahead_y_m)
    if polar:
        latitude, longitude = from_polar_plane(from_x_m + x_m, from_y_m + y_m, northern)
        # Back by the same turn the other way round.
        east_mps, away_mps = turned(-longitude, x_mps, y_mps)
        north_mps = -away_mps if northern else away_mps
    else:
        latitude = motion.latitude_deg + y_m / north_m
        longitude = wrap_degrees(motion.longitude_deg + x_m / east_m)
        east_mps, north_mps = x_mps, y_mps
    return SmoothedMotion(
        latitude,
        longitude,
        north_mps,
        east_mps,
        position_m2 * (1.0 - position_gain),
        mixed_m2_s * (1.0 - position_gain),
        velocity_m2_s2 - velocity_gain * mixed_m2_s,
    )


@scalar_kernel
def smoothed_speed_mps(motion: SmoothedMotion) -> float:
    """How fast it moves."""
    return math.sqrt(motion.north_mps * motion.north_mps + motion.east_mps * motion.east_mps)


@scalar_kernel
def smoothed_heading_deg(motion: SmoothedMotion) -> float:
    """Where to, degrees clockwise from north in [0, 360); NaN at rest."""
    if motion.north_mps == 0.0 and motion.east_mps == 0.0:
        return math.nan
    heading = math.atan2(motion.east_mps, motion.north_mps) / _DEG
    return heading + 360.0 if heading < 0.0 else heading
