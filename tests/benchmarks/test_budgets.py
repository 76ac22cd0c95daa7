"""The rows of the benchmark of budgets."""

import tomllib
from pathlib import Path

import pytest

from datacondense import SelectionConfig
from datacondense.condensation.registry import method_named

TABLE = tomllib.loads((Path(__file__).parents[2] / "benchmarks" / "budgets.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", TABLE["rows"], ids=lambda row: row["name"])
def test_every_row_has_settings_that_exist_and_a_protocol(row: dict[str, object]) -> None:
    kind = method_named(str(row["method"])) if "budget" in row else SelectionConfig
    given = {"method": row["method"]} if kind is SelectionConfig else {}
    built = kind(ipc=row["ipc"], **given, **row["settings"])  # type: ignore[arg-type]
    assert built.ipc == row["ipc"]
    assert row.get("protocol", row["dataset"]) in TABLE["protocols"]


def test_rows_have_names_of_their_own() -> None:
    names = [row["name"] for row in TABLE["rows"]]
    assert len(set(names)) == len(names)
