"""Experts of these tests are kept for the session, beside the user's own."""

import pytest


@pytest.fixture(autouse=True)
def _experts(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setattr("datacondense.condensation.experts.cache_folder", lambda: kept)
