"""The numbers of a study as plain JSON values, from which its page and its plot can be written again."""

from collections.abc import Mapping, Sequence
from typing import Any

from datacondense.renamed import current_names
from datacondense.studies.differences import EntryResult
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Claim, Entry, Published, Study

_WORDS = ("name", "title", "rows", "columns", "row_axis", "column_axis", "source", "plot")


def study_record(result: StudyResult) -> dict[str, Any]:
    """Return a study and all its accuracies as plain JSON values, without its tasks.

    Args:
        result: The study and its numbers.

    Returns:
        Plain JSON values.
    """
    study = result.study
    return {
        "study": {name: getattr(study, name) for name in _WORDS},
        "entries": [
            {"row": row, "column": column, **_entry_record(entry)}
            for (row, column), entry in result.entries.items()
        ],
        "full": None if result.full is None else _entry_record(result.full),
        "published": [[*entry, *value] for entry, value in study.published.items()],
        "claims": [[claim.text, claim.better, claim.worse, claim.strict] for claim in study.claims],
        "paired": [[entry, partner] for entry, partner in study.paired.items()],
        "environments": list(result.environments),
        "ratios": dict(study.ratios),
    }


def read_study_record(values: Mapping[str, Any]) -> StudyResult:
    """Read what `study_record` wrote, in this or an earlier release.

    Args:
        values: Plain JSON values; additional ones are ignored.

    Returns:
        The study, without its tasks, and its numbers.
    """
    values = current_names(values)
    words = values["study"]
    study = Study(
        **words | {"rows": tuple(words["rows"]), "columns": tuple(words["columns"])},
        entries={},
        published={(row, column): Published(mean, std) for row, column, mean, std in values["published"]},
        claims=tuple(
            Claim(text=text, better=_entries(better), worse=_entries(worse), strict=strict)
            for text, better, worse, strict in values["claims"]
        ),
        paired={(a, b): (c, d) for (a, b), (c, d) in values.get("paired", ())},
        ratios=values.get("ratios", {}),
    )
    return StudyResult(
        study=study,
        entries={(entry["row"], entry["column"]): _entry(entry) for entry in values["entries"]},
        full=None if values["full"] is None else _entry(values["full"]),
        environments=values["environments"],
    )


def _entry_record(entry: EntryResult) -> dict[str, Any]:
    """Return the numbers of an entry as plain JSON values."""
    return {
        "missing": entry.missing,
        "accuracies": [[seed, repeat, value] for (seed, repeat), value in sorted(entry.accuracies.items())],
        "origins": [[seed, key] for seed, key in sorted(entry.origins.items())],
        "image_lrs": list(entry.image_lrs),
        "condensing_seconds": list(entry.condensing_seconds),
        "iterations": list(entry.iterations),
        "shared_seconds": list(entry.shared_seconds),
        "memory": [list(each) for each in entry.memory],
        "evaluating_seconds": list(entry.evaluating_seconds),
    }


def _entry(values: Mapping[str, Any]) -> EntryResult:
    """Read what `_entry_record` wrote."""
    return EntryResult(
        accuracies={(seed, repeat): value for seed, repeat, value in values["accuracies"]},
        missing=values["missing"],
        origins=dict(values["origins"]),
        image_lrs=tuple(values.get("image_lrs", ())),
        condensing_seconds=tuple(values.get("condensing_seconds", ())),
        iterations=tuple(values.get("iterations", ())),
        shared_seconds=tuple(values.get("shared_seconds", ())),
        memory=tuple((peak, added) for peak, added in values.get("memory", ())),
        evaluating_seconds=tuple(values.get("evaluating_seconds", ())),
    )


def _entries(listed: Sequence[Sequence[str]]) -> tuple[Entry, ...]:
    """Read entries, which are lists in JSON."""
    return tuple((row, column) for row, column in listed)
