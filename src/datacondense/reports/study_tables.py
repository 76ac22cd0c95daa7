"""The numbers of a study as a Markdown page and a CSV table."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from datacondense.files import write_text
from datacondense.reports.costs import COST_COLUMNS, cost_numbers, costs_part
from datacondense.reports.environments import environments_part
from datacondense.reports.layout import NOTHING, accuracy, plain, points, table
from datacondense.reports.paired_tables import PAIRED_COLUMNS, paired_numbers, paired_part
from datacondense.studies.differences import ClaimResult, EntryResult
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Claim, Entry, Published, Study

Marks: TypeAlias = Mapping[tuple[int, int], str]  # by numbers of missing and of declared networks

_MARKS = "†‡§¶"  # doubled, tripled, … when they run out
_COLUMNS = (
    "row",
    "column",
    "n",
    "sets",
    "missing",
    "mean",
    "std",
    "low",
    "high",
    "published_mean",
    "published_std",
    *PAIRED_COLUMNS,
)


def write_study(result: StudyResult, facts: Mapping[str, str], folder: Path | str, stem: str) -> list[Path]:
    """Write page, table and plot of a study, each atomically; the page shows the plot.

    Args:
        result: The study and its numbers.
        facts: As in `markdown`.
        folder: The folder; it is created if missing.
        stem: Name of the files without their suffixes.

    Returns:
        The paths of the page (.md), the table (.csv) and the plot (.png).

    Raises:
        InputError: The folder cannot be written, or the study cannot be plotted, see `plot_study`.
    """
    from datacondense.reports.study_plots import plot_study  # noqa: PLC0415 — loads matplotlib

    page, numbers, plot = (Path(folder) / f"{stem}.{suffix}" for suffix in ("md", "csv", "png"))
    plot_study(result, plot)
    write_text(numbers, csv_text(result))
    write_text(page, markdown(result, facts, picture=quote(plot.name)))
    return [page, numbers, plot]


def markdown(result: StudyResult, facts: Mapping[str, str], *, picture: str | None = None) -> str:
    """Return a study as a Markdown page; the same numbers give the same page.

    Args:
        result: The study and its numbers.
        facts: What comes first, such as data set, protocol and command: name and value, as plain text.
        picture: Link to a plot of the numbers.

    Returns:
        The page: facts, entries beside the published ones, entries relative to the full data set, costs, paired
        entries, orderings, and the environments in which it was computed.
    """
    study = result.study
    marks = _marks(result.entries.values())
    parts = [
        f"# {plain(study.title)}",
        "\n".join(f"- {plain(name)}: {plain(value)}" for name, value in facts.items()),
        f"![{plain(study.title)}]({picture})" if picture else "",
        _entries_table(result, marks),
        _notation(result, marks),
        _relative_part(result, marks),
        costs_part(result),
        paired_part(result),
        _claims_part(result),
        environments_part(result.environments),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def csv_text(result: StudyResult) -> str:
    """Return the entries of a study as CSV, one line each, accuracies in percent; unknown values are empty.

    Args:
        result: The study and its numbers.

    Returns:
        A line of column names, then the entries. `low` and `high` are the ends of the 95 % interval of the mean; a
        single network has neither these nor `std`. `image_lr` lists the learning rates that searches found;
        `condensing_seconds` (in studies with pairs or costs) and `iterations` are means over sets; `difference`, in
        points, is that to the paired entry, with the ends of its 95 % intervals by Student's t and by the bootstrap.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ratios = result.study.ratios
    writer.writerow([*_COLUMNS, *(COST_COLUMNS if ratios else ())])
    differences, timed = result.differences, bool(result.study.paired or ratios)
    for entry in _declared(result):
        found = result.entries[entry]
        writer.writerow([
            *entry,
            *_csv_numbers(found),
            *_csv_published(result.study.published.get(entry)),
            *paired_numbers(found, differences.get(entry), timed=timed),
            *(cost_numbers(found, ratios[entry[1]]) if ratios else ()),
        ])
    return text.getvalue()


def _declared(result: StudyResult) -> list[Entry]:
    """Return the entries of the table, row by row."""
    entries = product(result.study.rows, result.study.columns)
    return [entry for entry in entries if entry in result.entries]


def _csv_numbers(entry: EntryResult) -> list[str]:
    """Return the numbers of an entry from `n` to `high`."""
    known: list[float] = []
    if entry.n == 1:
        known = [entry.mean]
    elif entry.n > 1:
        known = [entry.mean, entry.std, *entry.interval]
    percents = [f"{100 * value:.6f}" for value in known]
    return [str(entry.n), str(entry.sets), str(entry.missing), *percents, *[""] * (4 - len(percents))]


def _csv_published(value: Published | None) -> list[str]:
    """Return published numbers as texts."""
    numbers = (None, None) if value is None else value
    return ["" if number is None else f"{number:.6f}" for number in numbers]


def _grid(study: Study, text: Callable[[Entry], str]) -> str:
    """Return the table of a study's rows and columns."""
    corner = plain(f"{study.row_axis} \\ {study.column_axis}")
    return table(
        [corner, *map(plain, study.columns)],
        ([plain(row), *(text((row, column)) for column in study.columns)] for row in study.rows),
    )


def _marks(entries: Iterable[EntryResult]) -> Marks:
    """Return a mark for every pair of missing and declared networks, in order of appearance."""
    counts = dict.fromkeys(_missing(entry) for entry in entries if entry.missing)
    return {
        count: _MARKS[index % len(_MARKS)] * (1 + index // len(_MARKS)) for index, count in enumerate(counts)
    }


def _missing(entry: EntryResult) -> tuple[int, int]:
    """Return the numbers of missing and of declared networks."""
    return entry.missing, entry.n + entry.missing


def _explained(count: tuple[int, int]) -> str:
    """Return a sentence on how many networks are missing."""
    missing, declared = count
    networks, are = "network" if declared == 1 else "networks", "is" if missing == 1 else "are"
    return f"{missing} of {declared} {networks} {are} missing: failed or not yet run."


def _entries_table(result: StudyResult, marks: Marks) -> str:
    """Return the table of our accuracies, with the published ones beside them."""
    best = _best(result)

    def text(entry: Entry) -> str:
        if entry not in result.entries:
            return ""
        found = result.entries[entry]
        own = _accuracy(found, bold=entry in best) + marks.get(_missing(found), "")
        value = result.study.published.get(entry)
        return own if value is None else f"{own} · *{_published(value)}*"

    return _grid(result.study, text)


def _accuracy(entry: EntryResult, *, bold: bool = False) -> str:
    """Return an accuracy in percent with the number of networks; a single network has no deviation."""
    if entry.n == 0:
        return NOTHING
    number = accuracy(entry)
    return f"{f'**{number}**' if bold else number} ({entry.n})"


def _published(value: Published) -> str:
    """Return a published accuracy as text."""
    return f"{value.mean:.1f}" + ("" if value.std is None else f"±{value.std:.1f}")


def _best(result: StudyResult) -> set[Entry]:
    """Return the entry of each column whose mean, as printed, is above all others."""
    found = set()
    for column in result.study.columns:
        entries = [entry for entry in _declared(result) if entry[1] == column and result.entries[entry].n]
        means = {entry: round(100 * result.entries[entry].mean, 1) for entry in entries}
        highest = [entry for entry in entries if means[entry] == max(means.values())]
        if len(highest) == 1 < len(entries):
            found.add(highest[0])
    return found


def _notation(result: StudyResult, marks: Marks) -> str:
    """Return notes on the entries: marks, numbers of networks, and the source of published numbers."""
    entries = [result.entries[entry] for entry in _declared(result)]
    sizes = dict.fromkeys(_size(entry.accuracies, entry.origins) for entry in entries if entry.n)
    sentences = [
        "Each entry is the mean±standard deviation of the accuracy in % over n networks, with n in brackets"
        + (f"; n (sets × networks on each) is {', '.join(sizes)}." if sizes else "."),
        "Bold is the highest mean of a column." if _best(result) else "",
        f"{NOTHING} means that no network is finished." if any(entry.n == 0 for entry in entries) else "",
        _origin(result.study) if result.study.published.keys() & result.entries.keys() else "",
    ]
    notes = [f"{mark} {_explained(count)}" for count, mark in marks.items()]
    return "\n\n".join([*notes, " ".join(sentence for sentence in sentences if sentence)])


def _origin(study: Study) -> str:
    """Return where published numbers come from."""
    return "In italics: published" + (f" ({plain(study.source)})." if study.source else ".")


def _size(networks: Collection[tuple[int, int]], origins: Mapping[int, str] | None = None) -> str:
    """Return the number of networks and of the sets that they were trained on as text."""
    per_set = Counter((origins or {}).get(seed, seed) for seed, _ in networks)
    if len(set(per_set.values())) == 1:
        return f"{len(networks)} ({len(per_set)} × {len(networks) // len(per_set)})"
    return f"{len(networks)} (on {len(per_set)} sets)"


def _relative_part(result: StudyResult, marks: Marks) -> str:
    """Return the table of means relative to the mean on the full data set."""
    full = result.full
    if full is None:
        return ""
    unfinished = f" {_explained(_missing(full))}" if full.missing else ""
    if full.n == 0 or full.mean == 0:
        return f"There is no accuracy on the full data set to compare with.{unfinished}"

    def text(entry: Entry) -> str:
        if entry not in result.entries:
            return ""
        found = result.entries[entry]
        relative = f"{100 * found.mean / full.mean:.1f}" if found.n else NOTHING
        return relative + marks.get(_missing(found), "")

    sentence = f"100 % is the accuracy on the full data set: {_accuracy(full)}.{unfinished}"
    return f"## Relative to the full data set, %\n\n{_grid(result.study, text)}\n\n{sentence}"


def _claims_part(result: StudyResult) -> str:
    """Return the part that checks published orderings."""
    if not result.study.claims:
        return ""
    checked = result.claims
    known = {claim.claim for claim in checked}
    unknown = [plain(claim.text) for claim in result.study.claims if claim not in known]
    parts = [
        "## Orderings",
        table(
            [
                "ordering",
                "better - worse, points (95 % interval)",
                "n (sets × networks)",
                "verdict",
                "published, points",
            ],
            (_claim_row(claim, result) for claim in checked),
        )
        if checked
        else "",
        _verdicts(checked) if checked else "",
        f"Not known yet: {'; '.join(unknown)}." if unknown else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _claim_row(checked: ClaimResult, result: StudyResult) -> list[str]:
    """Return the line of one ordering; a single network decides nothing."""
    size = _size(_paired(checked.claim, result))
    difference = points(checked.difference)
    published = "" if checked.published is None else points(checked.published)
    if checked.n == 1:
        return [plain(checked.claim.text), f"{difference} (no interval)", size, NOTHING, published]
    low, high = map(points, checked.interval)
    return [plain(checked.claim.text), f"{difference} ({low} to {high})", size, checked.verdict, published]


def _paired(claim: Claim, result: StudyResult) -> set[tuple[int, int]]:
    """Return the networks that are finished in all entries of an ordering."""
    entries = [result.entries[entry] for entry in (*claim.better, *claim.worse)]
    return set.intersection(*(set(entry.accuracies) for entry in entries))


def _verdicts(checked: Sequence[ClaimResult]) -> str:
    """Return notes on differences, intervals and verdicts."""
    alone = any(claim.sets == 1 < claim.n for claim in checked)
    return (
        "Networks are paired by the seed of their set and their number; the interval is Student's t over the means of "
        "the sets. Reproduced: the interval lies above zero; contradicted: below; undecided: it contains zero; "
        "consistent: it contains zero, and the ordering allows equality."
        + (
            " A single set decides nothing: its interval, over networks, is valid for that set only."
            if alone
            else ""
        )
    )
