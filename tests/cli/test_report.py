"""`datacondense report`."""

import json
from pathlib import Path

import pytest

from datacondense import load_condensed
from datacondense.cli.main import main


def test_a_set_is_reported_with_privacy_and_its_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_condensed("digits-1").save(tmp_path / "set.safetensors")
    words = ["report", str(tmp_path / "set.safetensors"), "--out", str(tmp_path / "r.html")]
    assert main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert record == {"page": str(tmp_path / "r.html"), "bytes": (tmp_path / "r.html").stat().st_size}
    assert "95 % interval" in page
    assert "Repeat it" in page
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--force", "--no-privacy", "--quiet"]) == 0
    assert "Privacy" not in (tmp_path / "r.html").read_text(encoding="utf-8")
