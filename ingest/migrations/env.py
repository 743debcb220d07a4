"""Alembic environment of the ingest database."""

from ingest.tables import metadata
from runtime.migrations_env import run

run(metadata)
