import pytest

from tests.support.apiserver import running_api


@pytest.fixture
async def api():
    async with running_api() as api:
        yield api
