"""The house: health, migrations, what importing loads."""

import httpx

from tunix_rt import migrations


async def test_health_answers(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "healthy"


def test_migrations_go_up_down_and_up_again(database_url: str) -> None:
    assert migrations.current(database_url) == migrations.head()
    assert migrations.drift(database_url) == []
    migrations.downgrade(database_url, "base")
    assert set(migrations.tables(database_url)) <= {"alembic_version"}
    migrations.upgrade(database_url)
    assert migrations.drift(database_url) == []
