"""The numbers of a study as plain JSON values, from which its page and its picture can be made again."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from datacondense.renamed import current_names
from datacondense.studies.results import EntryResult, StudyResult
from datacondense.studies.study import Claim, Published, Study

if TYPE_CHECKING:
    from datacondense.studies.study import Entry

_WORDS = ("name", "title", "rows", "columns", "row_axis", "column_axis", "source", "plot")


def study_record(result: StudyResult) -> dict[str, Any]:
    """Write a study and every accuracy of it; cells are left out.

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
        "published": [[*place, *value] for place, value in study.published.items()],
        "claims": [[claim.text, claim.better, claim.worse, claim.strict] for claim in study.claims],
        "paired": [[place, partner] for place, partner in study.paired.items()],
        "environments": list(result.environments),
        "ratios": dict(study.ratios),
    }


def read_study_record(values: Mapping[str, Any]) -> StudyResult:
    """Read what `study_record` wrote, also before it knew of pairs, learning rates and costs.

    Args:
        values: Plain JSON values; others than those of `study_record` are left alone.

    Returns:
        The study, which has no cells any more, and its numbers.
    """
    values = current_names(values)
    words = values["study"]
    study = Study(
        **words | {"rows": tuple(words["rows"]), "columns": tuple(words["columns"])},
        entries={},
        published={(row, column): Published(mean, std) for row, column, mean, std in values["published"]},
        claims=tuple(
            Claim(text=text, better=_places(better), worse=_places(worse), strict=strict)
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
    """Write the numbers of an entry, accuracies by seed and number of the network."""
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


def _places(listed: Sequence[Sequence[str]]) -> "tuple[Entry, ...]":
    """Read the places of entries."""
    return tuple((row, column) for row, column in listed)
