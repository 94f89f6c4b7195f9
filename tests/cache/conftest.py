"""What the tests of the cache share."""

import os

import pytest


@pytest.fixture(autouse=True)
def _quick_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test pulls the plug: let none wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
