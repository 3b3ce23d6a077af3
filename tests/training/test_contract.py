"""Every engine through the demands of `contract.py`."""

from tests.training.contract import *  # noqa: F403  # the demands are the tests
