"""Kernels are compiled on their first call, which hypothesis would take for a slow test."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("compiled", deadline=None)
hypothesis.settings.load_profile("compiled")
