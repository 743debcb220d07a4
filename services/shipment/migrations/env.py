"""Alembic environment of the shipment service's database."""

from runtime.migrations_env import run
from services.shipment.tables import metadata

run(metadata)
