"""The compose file and the image, as far as they can be known without Docker."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tunix_rt.base.settings import Settings
from tunix_rt.cli.main import root
from tunix_rt.cli.serve import DRAIN_SECONDS

TOP = Path(__file__).parents[1]
OURS = ("migrate", "api", "worker")
FILE: dict[str, Any] = yaml.safe_load((TOP / "compose.yaml").read_text())
SERVICES: dict[str, Any] = FILE["services"]


def steps() -> list[list[str]]:
    """The Dockerfile's instructions, in words."""
    text = (TOP / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def copied() -> list[str]:
    """What the Dockerfile copies from this folder."""
    lines = [step[1:] for step in steps() if step[0] == "COPY" and not step[1].startswith("--from=")]
    return [source for line in lines for source in line[:-1]]


@pytest.mark.parametrize("name", OURS)
def test_each_service_says_what_the_command_line_accepts(name: str) -> None:
    command: click.Command | None = root
    arguments: list[str] = SERVICES[name]["command"]
    assert ["ENTRYPOINT", '["tunix-rt"]'] in steps()
    while isinstance(command, click.Group):
        called, *arguments = arguments
        command = command.get_command(click.Context(command), called)
    assert command is not None, arguments
    command.make_context(name, arguments)


@pytest.mark.parametrize("name", OURS)
def test_each_setting_is_one_that_the_system_knows(name: str) -> None:
    environment: dict[str, Any] = SERVICES[name]["environment"]
    given = {key.removeprefix("TUNIX_RT_").lower(): value for key, value in environment.items()}
    assert given.keys() <= Settings.model_fields.keys()
    url = re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", "secret", given.pop("database_url"))
    assert given.pop("allowed_hosts") == "${TUNIX_RT_ALLOWED_HOSTS:-}"  # empty: loopback names alone
    found = Settings(database_url=url, allowed_hosts="", **given)
    assert found.sqlalchemy_url == "postgresql+psycopg://tunix_rt:secret@postgres:5432/tunix_rt"


def test_all_share_one_home_that_the_image_made_for_its_user() -> None:
    homes = {(SERVICES[name]["environment"]["TUNIX_RT_HOME"], *SERVICES[name]["volumes"]) for name in ("api", "worker")}
    assert homes == {("/var/lib/tunix-rt", "home:/var/lib/tunix-rt")}
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert used == FILE["volumes"].keys()
    users = [step[1] for step in steps() if step[0] == "USER"]
    assert users == ["tunix-rt"]


def test_only_the_api_is_reached_and_from_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_no_password_stands_in_the_file_and_a_missing_one_is_an_error() -> None:
    text = (TOP / "compose.yaml").read_text()
    used = re.findall(r"\$\{[^}]*\}", text)
    passwords = [one for one in used if "PASSWORD" in one]
    assert len(passwords) == 2
    assert all(re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?is not set[^}]+\}", one) for one in passwords)
    assert set(used) - set(passwords) == {"${TUNIX_RT_ALLOWED_HOSTS:-}"}
    assert ".env" in (TOP / ".gitignore").read_text().splitlines()


def test_nothing_starts_before_the_migration_and_that_not_before_the_database() -> None:
    for name in ("api", "worker"):
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["restart"] == "no"
    assert {SERVICES[name]["restart"] for name in ("postgres", "api", "worker")} == {"unless-stopped"}
    assert "pg_isready" in SERVICES["postgres"]["healthcheck"]["test"]
    assert "/api/ready" in SERVICES["api"]["healthcheck"]["test"][-1]


def test_two_workers_have_the_time_to_drain() -> None:
    worker = SERVICES["worker"]
    assert worker["deploy"]["replicas"] == 2
    seconds = int(worker["stop_grace_period"].removesuffix("s"))
    assert seconds >= Settings.model_fields["cancel_grace_seconds"].default + DRAIN_SECONDS


def test_what_the_image_copies_is_here_and_is_sent_to_its_build() -> None:
    ignored = (TOP / ".dockerignore").read_text().splitlines()
    packages = ["web/package.json", "web/package-lock.json", "web/.npmrc", "web"]
    assert copied() == [
        *packages,
        "pyproject.toml",
        "requirements.lock",
        "README.md",
        "LICENSE",
        "hatch_build.py",
        "configs",
        "src",
    ]
    assert all((TOP / source).exists() for source in copied())
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == {
        source.partition("/")[0] for source in copied()
    }
