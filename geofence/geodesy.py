"""Distance, bearing and destination on the WGS 84 ellipsoid.

Sources: T. Vincenty, "Direct and inverse solutions of geodesics on the ellipsoid with application of nested
equations", Survey Review XXIII 176 (1975), 88-93. For nearly antipodal points, where Vincenty's iteration does not
converge: C. F. F. Karney, "Algorithms for geodesics", Journal of Geodesy 87 (2013), 43-55, section 4: with the
points in canonical order the longitude difference grows with the first azimuth, so that a bisection finds it. Short
distances use the Gauss mid-latitude formula (R. H. Rapp, "Geometric Geodesy I", 1991, section 6.2). NaN in gives
NaN.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from geofence.kernel import scalar_kernel

EQUATORIAL_RADIUS_M: Final = 6378137.0
FLATTENING: Final = 1.0 / 298.257223563
POLAR_RADIUS_M: Final = EQUATORIAL_RADIUS_M * (1.0 - FLATTENING)
ECCENTRICITY_SQUARED: Final = FLATTENING * (2.0 - FLATTENING)
SECOND_ECCENTRICITY_SQUARED: Final = ECCENTRICITY_SQUARED / (1.0 - ECCENTRICITY_SQUARED)
# The least and the greatest radius of curvature of any normal section: meridian at the equator, anything at a pole.
LEAST_RADIUS_M: Final = POLAR_RADIUS_M * POLAR_RADIUS_M / EQUATORIAL_RADIUS_M
GREATEST_RADIUS_M: Final = EQUATORIAL_RADIUS_M * EQUATORIAL_RADIUS_M / POLAR_RADIUS_M

_DEG: Final = math.pi / 180.0
# Within these the mid-latitude formula is right to 1e-6: about 5 km.
_SHORT_DEG: Final = 0.05
_SHORT_LATITUDE_DEG: Final = 75.0


@scalar_kernel
def wrap_degrees(difference_deg: float) -> float:
    """The same angle in [-180, 180)."""
    # numpy's floor, because math.floor makes an integer and NaN is none.
    wrapped_deg = float(difference_deg - 360.0 * np.floor((difference_deg + 180.0) / 360.0))
    # The sum of the last number below 180 and 180 is 360.
    return -180.0 if wrapped_deg < -180.0 else wrapped_deg  # noqa: FURB136 - NaN stays NaN


@scalar_kernel
def cartesian_m(latitude_deg: float, longitude_deg: float) -> tuple[float, float, float]:
    """The point on the ellipsoid in earth-centred coordinates."""
    sin_latitude = math.sin(latitude_deg * _DEG)
    cos_latitude = math.cos(latitude_deg * _DEG)
    normal_m = EQUATORIAL_RADIUS_M / math.sqrt(1.0 - ECCENTRICITY_SQUARED * sin_latitude * sin_latitude)
    return (
        normal_m * cos_latitude * math.cos(longitude_deg * _DEG),
        normal_m * cos_latitude * math.sin(longitude_deg * _DEG),
        normal_m * (1.0 - ECCENTRICITY_SQUARED) * sin_latitude,
    )


@scalar_kernel
def _vincenty_series(cos2_alpha: float) -> tuple[float, float]:
    """Vincenty's A and B (equations 3 and 4)."""
    u2 = cos2_alpha * SECOND_ECCENTRICITY_SQUARED
    a = 1.0 + u2 / 16384.0 * (4096.0 + u2 * (-768.0 + u2 * (320.0 - 175.0 * u2)))
    b = u2 / 1024.0 * (256.0 + u2 * (-128.0 + u2 * (74.0 - 47.0 * u2)))
    return a, b


@scalar_kernel
def _delta_sigma(b: float, sin_sigma: float, cos_sigma: float, cos_2m: float) -> float:
    """Vincenty's equation 6."""
    inner = cos_sigma * (-1.0 + 2.0 * cos_2m * cos_2m) - b / 6.0 * cos_2m * (-3.0 + 4.0 * sin_sigma * sin_sigma) * (
        -3.0 + 4.0 * cos_2m * cos_2m
    )
    return b * sin_sigma * (cos_2m + b / 4.0 * inner)


@scalar_kernel
def _longitude_correction(cos2_alpha: float, sin_alpha: float, sigma: float, cos_2m: float) -> float:
    """What the longitude on the auxiliary sphere exceeds the true one by, radians (Vincenty's equations 10 and 11)."""
    c = FLATTENING / 16.0 * cos2_alpha * (4.0 + FLATTENING * (4.0 - 3.0 * cos2_alpha))
    sin_sigma = math.sin(sigma)
    inner = cos_2m + c * math.cos(sigma) * (-1.0 + 2.0 * cos_2m * cos_2m)
    return (1.0 - c) * FLATTENING * sin_alpha * (sigma + c * sin_sigma * inner)


@scalar_kernel
def _reduced_latitude(latitude_deg: float) -> tuple[float, float]:
    """Sine and cosine of the reduced latitude; the cosine is never 0."""
    sin_latitude = math.sin(latitude_deg * _DEG) * (1.0 - FLATTENING)
    cos_latitude = max(math.cos(latitude_deg * _DEG), 1e-15)
    length = math.sqrt(sin_latitude * sin_latitude + cos_latitude * cos_latitude)
    return sin_latitude / length, cos_latitude / length


@scalar_kernel
def _arc_from_azimuth(
    azimuth: float, sin_u1: float, cos_u1: float, sin_u2: float, cos_u2: float
) -> tuple[float, float, float, float]:
    """For canonical points (u1 <= 0, u1 <= u2 <= -u1): arc, cos 2 sigma_m, sin alpha, true longitude difference.

    Karney 2013, section 4, equations 8 to 12 and 45.
    """
    sin_azimuth = math.sin(azimuth)
    cos_azimuth = math.cos(azimuth)
    sin_alpha = sin_azimuth * cos_u1
    under = cos_azimuth * cos_azimuth * cos_u1 * cos_u1 + (cos_u2 * cos_u2 - cos_u1 * cos_u1)
    cos_azimuth2 = math.sqrt(max(under, 0.0)) / cos_u2
    sigma1 = math.atan2(sin_u1, cos_azimuth * cos_u1)
    sigma2 = math.atan2(sin_u2, cos_azimuth2 * cos_u2)
    omega1 = math.atan2(sin_alpha * sin_u1, cos_azimuth * cos_u1)
    omega2 = math.atan2(sin_alpha * sin_u2, cos_azimuth2 * cos_u2)
    sigma = sigma2 - sigma1
    omega = omega2 - omega1
    if sigma < 0.0:
        sigma += 2.0 * math.pi
    if omega < 0.0:
        omega += 2.0 * math.pi
    cos_2m = math.cos(sigma1 + sigma2)
    longitude = omega - _longitude_correction(1.0 - sin_alpha * sin_alpha, sin_alpha, sigma, cos_2m)
    return sigma, cos_2m, sin_alpha, longitude


@scalar_kernel
def _antipodal_inverse(latitude1_deg: float, latitude2_deg: float, longitude: float) -> float:
    """Distance in metres for any pair by bisection of the first azimuth; `longitude` is the difference in [0, pi]."""
    latitude1 = latitude1_deg
    latitude2 = latitude2_deg
    if abs(latitude1) < abs(latitude2):
        latitude1, latitude2 = latitude2, latitude1
    if latitude1 > 0.0:
        latitude1 = -latitude1
        latitude2 = -latitude2
    sin_u1, cos_u1 = _reduced_latitude(latitude1)
    sin_u2, cos_u2 = _reduced_latitude(latitude2)
    # On the equator the start must lie a hair south of it, so that an azimuth over 90 degrees means half a turn.
    sin_u1 = min(sin_u1, -1e-15)
    low = 0.0
    high = math.pi
    for _ in range(60):
        middle = 0.5 * (low + high)
        _, _, _, reached = _arc_from_azimuth(middle, sin_u1, cos_u1, sin_u2, cos_u2)
        if reached < longitude:
            low = middle
        else:
            high = middle
    sigma, cos_2m, sin_alpha, _ = _arc_from_azimuth(0.5 * (low + high), sin_u1, cos_u1, sin_u2, cos_u2)
    a, b = _vincenty_series(1.0 - sin_alpha * sin_alpha)
    return POLAR_RADIUS_M * a * (sigma - _delta_sigma(b, math.sin(sigma), math.cos(sigma), cos_2m))


@scalar_kernel
def inverse(latitude1_deg: float, longitude1_deg: float, latitude2_deg: float, longitude2_deg: float) -> float:
    """Length of the geodesic in metres by Vincenty's inverse solution, at any distance; right to about 0.1 mm."""
    longitude = abs(wrap_degrees(longitude2_deg - longitude1_deg)) * _DEG
    sin_u1, cos_u1 = _reduced_latitude(latitude1_deg)
    sin_u2, cos_u2 = _reduced_latitude(latitude2_deg)
    on_sphere = longitude
    for _ in range(20):
        sin_lambda = math.sin(on_sphere)
        cos_lambda = math.cos(on_sphere)
        across = cos_u2 * sin_lambda
        along = cos_u1 * sin_u2 - sin_u1 * cos_u2 * cos_lambda
        sin_sigma = math.sqrt(across * across + along * along)
        if sin_sigma == 0.0 and cos_lambda > 0.0:
            return 0.0
        cos_sigma = sin_u1 * sin_u2 + cos_u1 * cos_u2 * cos_lambda
        if sin_sigma < 0.02 and cos_sigma < 0.0:
            break
        sigma = math.atan2(sin_sigma, cos_sigma)
        sin_alpha = cos_u1 * cos_u2 * sin_lambda / sin_sigma
        cos2_alpha = 1.0 - sin_alpha * sin_alpha
        cos_2m = cos_sigma - 2.0 * sin_u1 * sin_u2 / cos2_alpha if cos2_alpha > 1e-15 else 0.0
        before = on_sphere
        on_sphere = longitude + _longitude_correction(cos2_alpha, sin_alpha, sigma, cos_2m)
        if abs(on_sphere - before) < 1e-12:
            a, b = _vincenty_series(cos2_alpha)
            return POLAR_RADIUS_M * a * (sigma - _delta_sigma(b, sin_sigma, cos_sigma, cos_2m))
    if math.isnan(longitude) or math.isnan(latitude1_deg) or math.isnan(latitude2_deg):
        return math.nan
    return _antipodal_inverse(latitude1_deg, latitude2_deg, longitude)


@scalar_kernel
def distance_m(latitude1_deg: float, longitude1_deg: float, latitude2_deg: float, longitude2_deg: float) -> float:
    """Length of the geodesic between two points in metres: within 1e-6 of the true one, or 0.1 mm."""
    latitude_step = latitude2_deg - latitude1_deg
    longitude_step = longitude2_deg - longitude1_deg
    middle_deg = 0.5 * (latitude1_deg + latitude2_deg)
    if abs(latitude_step) < _SHORT_DEG and abs(longitude_step) < _SHORT_DEG and abs(middle_deg) < _SHORT_LATITUDE_DEG:
        sin_middle = math.sin(middle_deg * _DEG)
        w2 = 1.0 - ECCENTRICITY_SQUARED * sin_middle * sin_middle
        normal_m = EQUATORIAL_RADIUS_M / math.sqrt(w2)
        meridian_m = normal_m * (1.0 - ECCENTRICITY_SQUARED) / w2
        north_m = meridian_m * latitude_step * _DEG
        east_m = normal_m * math.sqrt(1.0 - sin_middle * sin_middle) * longitude_step * _DEG
        return math.sqrt(north_m * north_m + east_m * east_m)
    return inverse(latitude1_deg, longitude1_deg, latitude2_deg, longitude2_deg)


@scalar_kernel
def bearing_deg(latitude1_deg: float, longitude1_deg: float, latitude2_deg: float, longitude2_deg: float) -> float:
    """Direction at the first point of the geodesic to the second, degrees clockwise from north in [0, 360).

    Vincenty's equation 20, with the longitude of the auxiliary sphere; between nearly antipodal points the direction is
    that of the sphere. The same point twice gives 0.
    """
    longitude = wrap_degrees(longitude2_deg - longitude1_deg) * _DEG
    sin_u1, cos_u1 = _reduced_latitude(latitude1_deg)
    sin_u2, cos_u2 = _reduced_latitude(latitude2_deg)
    on_sphere = longitude
    for _ in range(20):
        sin_lambda = math.sin(on_sphere)
        across = cos_u2 * sin_lambda
        along = cos_u1 * sin_u2 - sin_u1 * cos_u2 * math.cos(on_sphere)
        sin_sigma = math.sqrt(across * across + along * along)
        cos_sigma = sin_u1 * sin_u2 + cos_u1 * cos_u2 * math.cos(on_sphere)
        if sin_sigma == 0.0 or (sin_sigma < 0.02 and cos_sigma < 0.0):
            break
        sin_alpha = cos_u1 * cos_u2 * sin_lambda / sin_sigma
        cos2_alpha = 1.0 - sin_alpha * sin_alpha
        cos_2m = cos_sigma - 2.0 * sin_u1 * sin_u2 / cos2_alpha if cos2_alpha > 1e-15 else 0.0
        before = on_sphere
        sigma = math.atan2(sin_sigma, cos_sigma)
        on_sphere = longitude + _longitude_correction(cos2_alpha, sin_alpha, sigma, cos_2m)
        if abs(on_sphere - before) < 1e-12:
            break
    across = cos_u2 * math.sin(on_sphere)
    along = cos_u1 * sin_u2 - sin_u1 * cos_u2 * math.cos(on_sphere)
    bearing = math.atan2(across, along) / _DEG
    return bearing + 360.0 if bearing < 0.0 else bearing


@scalar_kernel
def destination(latitude_deg: float, longitude_deg: float, bearing: float, travelled_m: float) -> tuple[float, float]:
    """Latitude and longitude of the point `travelled_m` metres along the geodesic that starts at `bearing` degrees.

    Vincenty's direct solution. The longitude is in [-180, 180).
    """
    sin_azimuth = math.sin(bearing * _DEG)
    cos_azimuth = math.cos(bearing * _DEG)
    sin_u1, cos_u1 = _reduced_latitude(latitude_deg)
    sigma1 = math.atan2(sin_u1, cos_u1 * cos_azimuth)
    sin_alpha = cos_u1 * sin_azimuth
    cos2_alpha = 1.0 - sin_alpha * sin_alpha
    a, b = _vincenty_series(cos2_alpha)
    on_ellipsoid = travelled_m / (POLAR_RADIUS_M * a)
    sigma = on_ellipsoid
    for _ in range(20):
        before = sigma
        correction = _delta_sigma(b, math.sin(sigma), math.cos(sigma), math.cos(2.0 * sigma1 + sigma))
        sigma = on_ellipsoid + correction
        if abs(sigma - before) < 1e-13:
            break
    sin_sigma = math.sin(sigma)
    cos_sigma = math.cos(sigma)
    along = sin_u1 * sin_sigma - cos_u1 * cos_sigma * cos_azimuth
    latitude = math.atan2(
        sin_u1 * cos_sigma + cos_u1 * sin_sigma * cos_azimuth,
        (1.0 - FLATTENING) * math.sqrt(sin_alpha * sin_alpha + along * along),
    )
    on_sphere = math.atan2(sin_sigma * sin_azimuth, cos_u1 * cos_sigma - sin_u1 * sin_sigma * cos_azimuth)
    cos_2m = math.cos(2.0 * sigma1 + sigma)
    step = on_sphere - _longitude_correction(cos2_alpha, sin_alpha, sigma, cos_2m)
    return latitude / _DEG, wrap_degrees(longitude_deg + step / _DEG)
