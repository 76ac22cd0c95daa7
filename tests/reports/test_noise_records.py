"""The record of a measurement of gradient noise gives the measurement back."""

import json
from dataclasses import replace

import pytest

from datacondense.reports.noise import noise_markdown
from datacondense.reports.noise_records import noise_record, read_noise_record
from tests.reports.made_noise import RESULT


def test_a_written_record_is_read_back() -> None:
    values = json.loads(json.dumps({"date": "2026-01-01", **noise_record(RESULT)}))
    found = read_noise_record(values)
    assert found == replace(RESULT, environments=values["environments"])
    assert noise_markdown(found, {"a": "b"}) == noise_markdown(RESULT, {"a": "b"})


def test_a_record_is_plain_json() -> None:
    first, _ = noise_record(RESULT)["entries"]
    assert (first["network"], first["variant"]) == ("convnet", "none")
    data = first["all_classes"]["data"]
    assert (data["squared_length"], data["share"], data["interval"]) == (
        0.2,
        0.1,
        (0.05, pytest.approx(0.15)),
    )
    assert first["classes"][1] == {"name": "do*g", "parts": None}
