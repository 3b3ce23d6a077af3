"""What tests of runs share: the application, to be viewed at the ASGI level."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from tests.runs.viewer import serving
from tunix_rt.base.settings import Settings


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application on a server of its own."""
    async with serving(settings) as found:
        yield found
