"""The numbers of a study as a Markdown page and a CSV table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from math import isnan, nan
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from datacondense.reports import layout as md
from datacondense.reports.layout import NOTHING, number, plain, points
from datacondense.studies.results import FULL, StudyResult
from datacondense.studies.study import Entry, Published, Study

Numbers: TypeAlias = Mapping[str, Any]  # a line of one of the result's tables
Entries: TypeAlias = Mapping[Entry, Numbers]
Marks: TypeAlias = Mapping[tuple[int, int], str]  # by numbers of missing and of declared networks

_MARKS = "†‡§¶"  # doubled, tripled, … when they run out
_COSTS = ("shared_seconds", "memory_peak", "memory_added", "evaluating_seconds")
_COST_HEADER = (
    "ratio, %|n|sets|accuracy, %|iterations|condensing, s|shared, s|peak memory, MiB (added)|evaluation, s"
)
_PAIRED_HEADER = (
    "paired with|accuracy, %|difference, points|95 % interval (t)|95 % bootstrap|verdict|n|sets|image learning rate|"
    "condensing, s|iterations"
)
_CLAIM_HEADER = (
    "ordering|better - worse, points (95 % interval)|n (sets × networks)|verdict|published, points"
)
_COST_NOTES = (
    "Ratio is the size of a set in percent of the training images. Times and memory are means over the sets: "
    "condensing is the time to condense or select one set, shared is the time that selection needs once for all sets "
    "of a network (full training, and its features), and evaluation is the time to train and test one network. "
    "Learning-rate search is not counted. Peak memory is that of the process (on a GPU, of its tensors), in brackets "
    "the part that the set added to program and images. Times are valid only for the machine below and its load."
)
_PAIRED_NOTES = (
    "Networks are paired by the seed of their set and their number: n counts pairs, and the difference is the mean "
    "over the sets. The interval is Student's t over the means of the sets, and it alone decides: gain if it lies "
    "above zero, loss if below, undecided if it contains zero. The bootstrap resamples sets, then networks on each "
    "(percentiles of 2000 means); it is too narrow for few sets, and is printed only for comparison with tables "
    "that have no other interval."
)
_CLAIM_NOTES = (
    "Networks are paired by the seed of their set and their number; the interval is Student's t over the means of "
    "the sets. Reproduced: the interval lies above zero; contradicted: below; undecided: it contains zero; "
    "consistent: it contains zero, and the ordering allows equality."
)


def write_study(
    result: StudyResult, facts: Mapping[str, str], folder: Path | str, stem: str, parts: Sequence[str] = ()
) -> list[Path]:
    """Write page, table and plot of a study, each atomically; the page shows the plot.

    Args:
        result: The study and its numbers.
        facts: What the page begins with, such as data set, protocol and command: name and value, as plain text.
        folder: The folder; it is created if missing.
        stem: Name of the files without their suffixes.
        parts: Further parts of the page, in Markdown.

    Returns:
        The paths of the page (.md), the table (.csv) and the plot (.png).

    Raises:
        InputError: The folder cannot be written, or the study cannot be plotted, see `plot_study`.
    """
    from datacondense.reports.study_plots import plot_study  # noqa: PLC0415 — loads matplotlib

    page = partial(markdown, result, facts, parts=parts)
    return md.write_files(folder, stem, partial(plot_study, result), csv_text(result), page)


def markdown(
    result: StudyResult, facts: Mapping[str, str], *, picture: str | None = None, parts: Sequence[str] = ()
) -> str:
    """Return a study as a Markdown page; the same numbers give the same page."""
    entries = _by_entry(result.table)
    counts = dict.fromkeys(_missing(found) for found in entries.values() if found["missing"])
    marks = {count: _MARKS[i % len(_MARKS)] * (1 + i // len(_MARKS)) for i, count in enumerate(counts)}
    every = [
        *_accuracies(result.study, entries, marks),
        _relative_part(result, entries, marks),
        _costs_part(result, entries),
        _paired_part(result, entries),
        _claims_part(result),
        *parts,
        md.environments_part(result.environments),
    ]
    return md.page_of(result.study.heading, facts, picture, every)


def csv_text(result: StudyResult) -> str:
    """Return the entries as CSV, accuracies in percent and differences in points; unknown values are empty.

    `low` and `high` are the ends of the 95 % interval of the mean; `image_lr` lists the learning rates that searches
    found. Seconds are there only in studies with pairs or costs: without them every run gives the same bytes.
    """
    study, found = result.study, result.table
    entries, differences = list(found.index), _by_entry(result.differences)
    published = [study.published.get(entry, Published(nan)) for entry in entries]
    timed = study.paired or study.ratios

    def texts(values: Iterable[float | None], form: str = ".6f") -> list[str]:
        return [number(value, form) for value in values]

    def compared(name: str) -> list[str]:
        return texts(100 * differences[entry][name] if entry in differences else nan for entry in entries)

    columns: dict[str, list[Any]] = {
        "row": [row for row, _ in entries],
        "column": [column for _, column in entries],
        **{name: found[name].tolist() for name in ("n", "sets", "missing")},
        **{name: texts(100 * found[name]) for name in ("mean", "std", "low", "high")},
        "published_mean": texts(value.mean for value in published),
        "published_std": texts(value.std for value in published),
        "image_lr": [" ".join(f"{rate:g}" for rate in rates) for rates in found["image_lrs"]],
        "condensing_seconds": texts(found["condensing_seconds"] if timed else [nan] * len(entries), ".3f"),
        "iterations": texts(found["iterations"], ".1f"),
        "difference": compared("difference"),
        **{f"difference_{name}": compared(name) for name in ("low", "high")},
        **{name: compared(name) for name in ("bootstrap_low", "bootstrap_high")},
    }
    if study.ratios:
        columns["ratio"] = texts(study.ratios[column] for _, column in entries)
        columns |= {name: texts(found[name], ".3f") for name in _COSTS}
    return str(pd.DataFrame(columns).to_csv(index=False, lineterminator="\n"))


def _by_entry(found: pd.DataFrame) -> dict[Entry, Numbers]:
    """Return the lines of a table by row and column."""
    return dict(zip(found.index, found.to_dict("records"), strict=True))


def _grid(study: Study, entries: Entries, text: Callable[[Entry, Numbers], str]) -> str:
    """Return the table of a study's rows and columns, empty where there is no entry."""
    header = [plain(f"{study.row_axis} \\ {study.column_axis}"), *map(plain, study.columns)]
    known = {entry: text(entry, found) for entry, found in entries.items()}
    rows = ([plain(row), *(known.get((row, column), "") for column in study.columns)] for row in study.rows)
    return md.table(header, rows)


def _missing(found: Numbers) -> tuple[int, int]:
    """Return the numbers of missing and of declared networks."""
    return found["missing"], found["n"] + found["missing"]


def _explained(missing: int, declared: int) -> str:
    """Return a sentence on how many networks are missing."""
    networks, are = "network" if declared == 1 else "networks", "is" if missing == 1 else "are"
    return f"{missing} of {declared} {networks} {are} missing: failed or not yet run."


def _accuracy(found: Numbers) -> str:
    """Return mean±standard deviation in percent."""
    return md.accuracy(100 * found["mean"], 100 * found["std"])


def _accuracies(study: Study, entries: Entries, marks: Marks) -> list[str]:
    """Return the table of our accuracies with the published ones beside them, and notes on it."""
    best = {}
    for column in study.columns:
        known = (found["mean"] for (_, other), found in entries.items() if other == column and found["n"])
        means = sorted(round(100 * mean, 1) for mean in known)
        if len(means) > 1 and means[-1] > means[-2]:
            best[column] = means[-1]

    def text(entry: Entry, found: Numbers) -> str:
        value, own = study.published.get(entry), _accuracy(found)
        own = f"**{own}**" if best.get(entry[1]) == round(100 * found["mean"], 1) else own
        own += (f" ({found['n']})" if found["n"] else "") + marks.get(_missing(found), "")
        return own if value is None else f"{own} · *{md.accuracy(*value)}*"

    sizes = ", ".join(dict.fromkeys(found["size"] for found in entries.values() if found["n"]))
    source = f" ({plain(study.source)})" if study.source else ""
    sentences = [
        "Each entry is the mean±standard deviation of the accuracy in % over n networks, with n in brackets"
        + (f"; n (sets × networks on each) is {sizes}." if sizes else "."),
        "Bold is the highest mean of a column." * bool(best),
        f"{NOTHING} means that no network is finished." * any(not found["n"] for found in entries.values()),
        f"In italics: published{source}." if study.published.keys() & entries.keys() else "",
    ]
    notes = [f"{mark} {_explained(*count)}" for count, mark in marks.items()]
    return [_grid(study, entries, text), *notes, md.joined(sentences, " ")]


def _relative_part(result: StudyResult, entries: Entries, marks: Marks) -> str:
    """Return the table of means relative to the mean on the full data set."""
    if result.full is None:
        return ""
    full = result.full.to_dict()
    unfinished = f" {_explained(*_missing(full))}" if full["missing"] else ""
    if not full["n"] or not full["mean"]:
        return f"There is no accuracy on the full data set to compare with.{unfinished}"

    def text(_: Entry, found: Numbers) -> str:
        return number(100 * found["mean"] / full["mean"], ".1f", NOTHING) + marks.get(_missing(found), "")

    sentence = f"100 % is the accuracy on the full data set: {_accuracy(full)} ({full['n']}).{unfinished}"
    return md.joined(["## Relative to the full data set, %", _grid(result.study, entries, text), sentence])


def _costs_part(result: StudyResult, entries: Entries) -> str:
    """Return the table of accuracy, time and memory, for studies that list costs."""
    study = result.study
    if not study.ratios:
        return ""
    rows = [
        [plain(row), plain(column), f"{study.ratios[column]:.3g}", *_costs(entries[row, column])]
        for column, row in product(study.columns, study.rows)
        if (row, column) in entries
    ]
    if result.full is not None:
        rows.append([FULL, "all", "100", *_costs({**result.full.to_dict(), "sets": 0})])
    header = [plain(study.row_axis), plain(study.column_axis), *_COST_HEADER.split("|")]
    return md.joined(["## Costs", md.table(header, rows, words=2), _COST_NOTES])


def _costs(found: Numbers) -> list[str]:
    """Return the numbers of an entry as texts, seconds with tenths if they are few."""
    seconds = [found["condensing_seconds"], found["shared_seconds"] or nan, found["evaluating_seconds"]]
    condensing, shared, evaluating = (number(s, ".1f" if s < 100 else ".0f", NOTHING) for s in seconds)
    peak, added = (number(found[name], ".0f") for name in ("memory_peak", "memory_added"))
    sizes = [str(found["n"]), str(found["sets"] or NOTHING), _accuracy(found)]
    iterations = number(found["iterations"], ".6g", NOTHING)
    return [*sizes, iterations, condensing, shared, f"{peak} ({added})" if peak else NOTHING, evaluating]


def _paired_part(result: StudyResult, entries: Entries) -> str:
    """Return the table that compares each paired entry with its partner."""
    study, known = result.study, _by_entry(result.differences)

    def line(entry: Entry, found: Numbers) -> list[str]:
        partner, difference = study.paired.get(entry), known.get(entry)
        labels = zip(entry, partner or entry, strict=True)
        size, compared = difference or {"n": 0, "sets": 0}, [NOTHING] * 4
        if partner is None:
            size, compared = found, [""] * 4
        elif difference:
            ends = [_interval(difference, kind) for kind in ("", "bootstrap_")]
            compared = [points(difference["difference"]), *ends, difference["verdict"]]
        return [
            *map(plain, entry),
            ", ".join(plain(other) for own, other in labels if own != other),
            *[_accuracy(found), *compared, str(size["n"]), str(size["sets"])],
            ", ".join(f"{rate:g}" for rate in found["image_lrs"]),
            *[number(found["condensing_seconds"], ".1f"), number(found["iterations"], ".0f")],
        ]

    listed = {*study.paired, *study.paired.values()}
    rows = [line(entry, found) for entry, found in entries.items() if entry in listed]
    header = [plain(study.row_axis), plain(study.column_axis), *_PAIRED_HEADER.split("|")]
    alone = any(difference["sets"] == 1 for difference in known.values())
    unknown = study.paired.keys() & entries.keys() - known.keys()
    notes = [
        _PAIRED_NOTES,
        "A single set has no interval and decides nothing." * alone,
        f"{NOTHING} instead of a difference means that no pair is finished." * bool(unknown),
    ]
    part = ["## Paired with plain matching", md.table(header, rows, words=3), md.joined(notes, " ")]
    return md.joined(part) if study.paired else ""


def _interval(found: Numbers, kind: str = "") -> str:
    """Return the ends of an interval in points as text."""
    low, high = found[f"{kind}low"], found[f"{kind}high"]
    return NOTHING if isnan(low) else f"{points(low)} to {points(high)}"


def _claims_part(result: StudyResult) -> str:
    """Return the table that checks published orderings; a single network decides nothing."""
    checked = result.claims.to_dict("records")
    rows = [
        [
            plain(found["text"]),
            f"{points(found['difference'])} ({_interval(found) if found['n'] > 1 else 'no interval'})",
            found["size"],
            found["verdict"] if found["n"] > 1 else NOTHING,
            "" if isnan(found["published"]) else points(found["published"]),
        ]
        for found in checked
    ]
    known = {found["text"] for found in checked}
    unknown = [plain(claim.text) for claim in result.study.claims if claim.text not in known]
    alone = any(found["sets"] == 1 < found["n"] for found in checked)
    single = " A single set decides nothing: its interval, over networks, is valid for that set only." * alone
    parts = [md.table(_CLAIM_HEADER.split("|"), rows), _CLAIM_NOTES + single] if rows else []
    not_known = f"Not known yet: {'; '.join(unknown)}." if unknown else ""
    return md.joined(["## Orderings", *parts, not_known]) if result.study.claims else ""
