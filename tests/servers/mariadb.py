"""A real MariaDB."""

from __future__ import annotations

import getpass
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from stack.ports import any_free
from tests.servers.process import ServerProcess, executable


class MariaDb(ServerProcess):
    """`url` names an empty database for SQLAlchemy with asyncmy."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.port = any_free()
        self.socket = folder / "mariadb.sock"
        self.url = f"mysql+asyncmy://drover:drover@127.0.0.1:{self.port}/drover"
        self._data = folder / "data"
        subprocess.run(
            [executable("mariadb-install-db"), "--no-defaults", f"--datadir={self._data}", "--skip-test-db",
             f"--user={getpass.getuser()}", "--auth-root-authentication-method=normal"],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        command = [
            executable("mariadbd"), "--no-defaults", f"--datadir={self._data}", f"--socket={self.socket}",
            f"--port={self.port}", "--bind-address=127.0.0.1", f"--user={getpass.getuser()}",
            "--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=256M", "--character-set-server=utf8mb4",
        ]  # fmt: skip
        super().__init__(command, folder, self._answers_sql)

    def sql(self, statements: str, *, user: str = "root") -> subprocess.CompletedProcess[bytes]:
        """Runs statements through the server's own client."""
        return subprocess.run(
            [executable("mariadb"), "--no-defaults", f"--socket={self.socket}", f"--user={user}", "-e", statements],
            check=False, capture_output=True,
        )  # fmt: skip

    def _answers_sql(self) -> bool:
        return self.sql("SELECT 1").returncode == 0

    def new_database(self, name: str = "drover") -> str:
        """The address of a database that is empty."""
        done = self.sql(
            f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4;"
            f"CREATE USER IF NOT EXISTS drover@'%' IDENTIFIED BY 'drover'; GRANT ALL ON {name}.* TO drover@'%';"
            "CREATE USER IF NOT EXISTS drover@localhost IDENTIFIED BY 'drover';"
            f"GRANT ALL ON {name}.* TO drover@localhost;"
        )
        assert done.returncode == 0, done.stderr
        return f"{self.url.rpartition('/')[0]}/{name}"


@pytest.fixture(scope="session")
def _mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    server = MariaDb(tmp_path_factory.mktemp("mariadb"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mariadb_server(_mariadb: MariaDb) -> MariaDb:
    """A server whose database `drover` is empty."""
    _mariadb.new_database()
    return _mariadb
