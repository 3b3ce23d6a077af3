"""Settings of the system, read from `TUNIX_RT_*` once and passed down."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tunix_rt.base.allowed_hosts import host_name


def _default_home() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "tunix-rt"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "tunix-rt"


class Settings(BaseSettings):
    """What a deployment may set; every field is an environment variable `TUNIX_RT_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="TUNIX_RT_", frozen=True, extra="ignore")

    home: Path = Field(default_factory=_default_home, description="folder of everything that is stored")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite in `home`")
    body_limit_bytes: int = Field(default=2**20, description="largest request body")
    upload_limit_bytes: int | None = Field(default=64 * 2**20, description="largest upload; none in process")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="further names and addresses of the server, separated by commas; loopback always works"
    )
    lease_seconds: float = Field(default=15.0, gt=0, description="a worker that is silent for so long has lost its job")
    cancel_grace_seconds: float = Field(default=30.0, ge=0, description="from SIGTERM to SIGKILL of a training")
    log_format: Literal["text", "json"] = Field(default="text", description="of the server's and the workers' logs")
    judge_url: str = Field(default="", description="OpenAI-compatible endpoint of the judge `llm`: https://host/v1")
    judge_model: str = Field(default="", description="model that the judge `llm` asks for there")
    judge_key: SecretStr = Field(default=SecretStr(""), description="its key; never stored, never logged")

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()  # a run's process starts in its own folder

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(host_name(name.strip()) for name in names if name.strip())

    @property
    def sqlalchemy_url(self) -> str:
        """The database's URL with its driver named."""
        url = self.database_url or f"sqlite:///{self.home / 'tunix-rt.db'}"
        for plain, driver in (
            ("sqlite://", "sqlite+aiosqlite://"),
            ("postgresql://", "postgresql+psycopg://"),
            ("postgres://", "postgresql+psycopg://"),
        ):
            if url.startswith(plain):
                return driver + url.removeprefix(plain)
        return url
