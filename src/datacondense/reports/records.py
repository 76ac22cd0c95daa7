"""Results as plain JSON values, from which their pages and plots can be written again."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from math import nan
from typing import Any

import pandas as pd

from datacondense.applications.search_result import COLUMNS as SEARCH_COLUMNS
from datacondense.applications.search_result import SearchResult
from datacondense.errors import InputError
from datacondense.renamed import current_names
from datacondense.studies.noise import COLUMNS as NOISE_COLUMNS
from datacondense.studies.noise import NoiseResult, noise_lines
from datacondense.studies.published import ORDERINGS, TITLES
from datacondense.studies.results import COLUMNS, FULL, StudyResult
from datacondense.studies.study import Claim, Entry, Published, Study

_WORDS = ("name", "title", "subject", "rows", "columns", "row_axis", "column_axis", "source", "plot")


def study_record(result: StudyResult) -> dict[str, Any]:
    """Return a study and all its networks as plain JSON values, without its tasks."""
    study = result.study
    return {
        "study": {name: getattr(study, name) for name in _WORDS},
        "networks": frame_columns(result.frame),
        "published": [[*entry, *value] for entry, value in study.published.items()],
        "claims": [[claim.text, claim.better, claim.worse, claim.strict] for claim in study.claims],
        "paired": [[entry, partner] for entry, partner in study.paired.items()],
        "environments": list(result.environments),
        "ratios": dict(study.ratios),
    }


def read_study_record(values: Mapping[str, Any]) -> StudyResult:
    """Read what `study_record` wrote, in this or an earlier release; additional values are ignored."""
    with understood("a study"):
        return _study_result(current_names(values))


def _study_result(values: Mapping[str, Any]) -> StudyResult:
    study = Study(
        **values["study"] | {name: tuple(values["study"][name]) for name in ("rows", "columns")},
        entries={},
        published={(row, column): Published(mean, std) for row, column, mean, std in values["published"]},
        claims=tuple(
            Claim(text=text, better=_entries(better), worse=_entries(worse), strict=strict)
            for text, better, worse, strict in values["claims"]
        ),
        paired={(a, b): (c, d) for (a, b), (c, d) in values.get("paired", ())},
        ratios=values.get("ratios", {}),
    )
    if "networks" in values:
        frame = frame_of(values["networks"])
    else:
        study, full = _reviewed(study), values["full"]
        entries = [*values["entries"], *([] if full is None else [{**full, "row": FULL, "column": "all"}])]
        frame = pd.DataFrame(chain(*map(_networks, entries)), columns=COLUMNS)
    return StudyResult(study=study, frame=frame, environments=values["environments"])


def noise_record(result: NoiseResult) -> dict[str, Any]:
    """Return a measurement of gradient noise as plain JSON values."""
    return {
        "networks": list(result.networks),
        "variants": list(result.variants),
        "parts": frame_columns(result.frame),
        "environments": list(result.environments),
    }


def read_noise_record(values: Mapping[str, Any]) -> NoiseResult:
    """Read what `noise_record` wrote, in this or an earlier release; additional values are ignored."""
    with understood("gradient noise"):
        return _noise_result(values)


def _noise_result(values: Mapping[str, Any]) -> NoiseResult:
    pairs = (((entry["network"], entry["variant"]), entry) for entry in values.get("entries", ()))
    lines = chain(*(noise_lines(pair, entry) for pair, entry in pairs))
    return NoiseResult(
        networks=tuple(values["networks"]),
        variants=tuple(values["variants"]),
        frame=frame_of(values["parts"]) if "parts" in values else pd.DataFrame(lines, columns=NOISE_COLUMNS),
        environments=values["environments"],
    )


def search_record(result: SearchResult) -> dict[str, Any]:
    """Return an architecture search as plain JSON values."""
    return {
        "proxies": list(result.proxies),
        "networks": list(result.networks),
        "reference": result.reference,
        "scores": frame_columns(result.frame),
        "set_seconds": dict(result.set_seconds),
        "environments": list(result.environments),
    }


def read_search_record(values: Mapping[str, Any]) -> SearchResult:
    """Read what `search_record` wrote; additional values are ignored."""
    with understood("an architecture search"):
        return SearchResult(
            proxies=tuple(values["proxies"]),
            networks=tuple(values["networks"]),
            reference=values["reference"],
            frame=frame_of(values["scores"])[list(SEARCH_COLUMNS)],
            set_seconds=values["set_seconds"],
            environments=values["environments"],
        )


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn whatever is wrong with the values of a record into one sentence."""
    try:
        yield
    except Exception as error:
        raise InputError(
            f"These values are no record of {what} ({type(error).__name__}: {error}): make the record again."
        ) from error


def frame_columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Return a frame as plain JSON values, column by column."""
    columns = frame.to_dict(orient="list").items()
    return {str(name): [None if pd.isna(value) else value for value in values] for name, values in columns}


def frame_of(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Read what `frame_columns` wrote."""
    known = ((name, [nan if value is None else value for value in found]) for name, found in columns.items())
    return pd.DataFrame(dict(known), columns=list(columns))


def _entries(listed: Sequence[Sequence[str]]) -> tuple[Entry, ...]:
    """Read entries, which are lists in JSON."""
    return tuple((row, column) for row, column in listed)


def _reviewed(study: Study) -> Study:
    """Return a study of an earlier release with today's title, and without published numbers that nobody checked."""
    study = replace(study, title=TITLES.get(study.name, study.title))
    if study.name not in ORDERINGS:
        return study
    claims = tuple(claim for claim in study.claims if claim.text in ORDERINGS[study.name])
    return replace(study, published={}, source="", claims=claims)


def _networks(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Read the networks of an entry of an earlier release, which lists the numbers of its sets seed by seed.

    Which set has which of several learning rates is not recorded.
    """
    labels, origins = {name: entry[name] for name in ("row", "column")}, dict(entry["origins"])
    sets = list(dict.fromkeys(origins.get(seed, str(seed)) for seed, _, _ in entry["accuracies"]))
    rates, memory = entry.get("image_lrs", ()), entry.get("memory", ())
    by_set = {
        "image_lr": rates * len(sets) if len(rates) == 1 else rates,
        **{name: entry.get(name, ()) for name in ("condensing_seconds", "iterations", "shared_seconds")},
        "memory_peak": [peak for peak, _ in memory],
        "memory_added": [added for _, added in memory],
    }
    seconds = entry.get("evaluating_seconds", ())
    for index, (seed, network, accuracy) in enumerate(entry["accuracies"]):
        own = origins.get(seed, str(seed))
        yield {
            **labels,
            "seed": seed,
            "network": network,
            "accuracy": accuracy,
            "set": own,
            **{name: _at(found, sets.index(own)) for name, found in by_set.items()},
            "evaluating_seconds": _at(seconds, index),
        }
    for network in range(entry["missing"]):
        yield {**labels, "seed": -1, "network": network, "accuracy": nan, "set": ""}


def _at(values: Sequence[float], index: int) -> float:
    """Return a number of a list; NaN beyond its end."""
    return values[index] if index < len(values) else nan
