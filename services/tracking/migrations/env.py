"""Called by alembic."""

from runtime.migrations_env import run
from services.tracking.tables import metadata

run(metadata)
