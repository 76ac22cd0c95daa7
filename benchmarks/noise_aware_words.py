"""The words of docs/noise-aware.md; every number in them is read from a record."""

from collections.abc import Iterable, Mapping
from typing import Any

from datacondense.reports.noise_records import read_noise_record
from datacondense.reports.study_records import read_study_record
from datacondense.studies import StudyResult
from datacondense.studies.noise_running import NoiseResult

HEAD = ""


def verdict(studies: Mapping[str, Mapping[str, Any]], noises: Mapping[str, Mapping[str, Any]]) -> str:
    return ""
