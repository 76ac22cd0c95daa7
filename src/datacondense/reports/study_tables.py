"""The numbers of a study as a page for people and as a table for programs."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

from datacondense.files import write_text
from datacondense.reports.costs import COST_COLUMNS, cost_numbers, costs_part
from datacondense.reports.environments import environments_part
from datacondense.reports.layout import NOTHING, accuracy, plain, points, table
from datacondense.reports.paired_tables import PAIRED_COLUMNS, paired_numbers, paired_part

if TYPE_CHECKING:
    from datacondense.studies.results import ClaimResult, EntryResult, StudyResult
    from datacondense.studies.study import Claim, Entry, Published, Study

Marks: TypeAlias = Mapping[tuple[int, int], str]  # by networks that are missing and that were asked for

_MARKS = "†‡§¶"  # doubled, trebled, … where they run out
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


def write_study(result: "StudyResult", facts: Mapping[str, str], folder: Path | str, stem: str) -> list[Path]:
    """Write page, table and picture of a study, each atomically; the page shows the picture.

    Args:
        result: The study and its numbers.
        facts: As in `markdown`.
        folder: Where to; made where missing.
        stem: Name of the files without their endings.

    Returns:
        The paths of the page (.md), the table (.csv) and the picture (.png).

    Raises:
        InputError: The folder cannot be written, or the study cannot be drawn, see `plot_study`.
    """
    from datacondense.reports.study_plots import plot_study  # noqa: PLC0415

    page, table, picture = (Path(folder) / f"{stem}.{ending}" for ending in ("md", "csv", "png"))
    plot_study(result, picture)
    write_text(table, csv_text(result))
    write_text(page, markdown(result, facts, picture=quote(picture.name)))
    return [page, table, picture]


def markdown(result: "StudyResult", facts: Mapping[str, str], *, picture: str | None = None) -> str:
    """Write a study as a Markdown page; the same numbers give the same page.

    Args:
        result: The study and its numbers.
        facts: What to say first, such as data set, protocol and command: name and value, as plain text.
        picture: Link to a picture of the numbers.

    Returns:
        The page: facts, entries beside the published ones, entries relative to the whole data set, costs, paired
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


def csv_text(result: "StudyResult") -> str:
    """Write the entries of a study as CSV, one line each, accuracies in percent; what is unknown is empty.

    Args:
        result: The study and its numbers.

    Returns:
        The lines, after one with the names of the columns. `low` and `high` are the ends of the 95 % interval of the
        mean; a single network has neither these nor `std`. `image_lr` lists the learning rates that the sets chose,
        `condensing_seconds` (in studies with pairs or costs) and `draws` are means over sets, and `difference`, in
        points, is that to the paired entry, with the ends of Student's 95 % interval and of the bootstrap's.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ratios = result.study.ratios
    writer.writerow([*_COLUMNS, *(COST_COLUMNS if ratios else ())])
    differences, timed = result.differences, bool(result.study.paired or ratios)
    for place in _declared(result):
        row, column = place
        writer.writerow([
            row,
            column,
            *_csv_numbers(result.entries[place]),
            *_csv_published(result.study.published.get(place)),
            *paired_numbers(result.entries[place], differences.get(place), timed=timed),
            *(cost_numbers(result.entries[place], ratios[column]) if ratios else ()),
        ])
    return text.getvalue()


def _declared(result: "StudyResult") -> list["Entry"]:
    """List the entries of the table row by row."""
    study = result.study
    places = [(row, column) for row in study.rows for column in study.columns]
    return [place for place in places if place in result.entries]


def _csv_numbers(entry: "EntryResult") -> list[str]:
    """Give the numbers of an entry from `n` to `high`."""
    known: list[float] = []
    if entry.n == 1:
        known = [entry.mean]
    elif entry.n > 1:
        known = [entry.mean, entry.std, *entry.interval]
    percents = [f"{100 * value:.6f}" for value in known]
    return [str(entry.n), str(entry.sets), str(entry.missing), *percents, *[""] * (4 - len(percents))]


def _csv_published(value: "Published | None") -> list[str]:
    """Give published numbers as they are."""
    numbers = (None, None) if value is None else value
    return ["" if number is None else f"{number:.6f}" for number in numbers]


def _grid(study: "Study", text: Callable[["Entry"], str]) -> str:
    """Lay out rows and columns of a study."""
    corner = plain(f"{study.row_axis} \\ {study.column_axis}")
    return table(
        [corner, *map(plain, study.columns)],
        ([plain(row), *(text((row, column)) for column in study.columns)] for row in study.rows),
    )


def _marks(entries: Iterable["EntryResult"]) -> Marks:
    """Give a mark to every share of networks that is missing in some entry, in order of appearance."""
    shares = dict.fromkeys(_missing(entry) for entry in entries if entry.missing)
    return {
        share: _MARKS[index % len(_MARKS)] * (1 + index // len(_MARKS)) for index, share in enumerate(shares)
    }


def _missing(entry: "EntryResult") -> tuple[int, int]:
    """Count the networks that are missing, and those that were asked for."""
    return entry.missing, entry.n + entry.missing


def _explained(share: tuple[int, int]) -> str:
    """Say how many networks are missing."""
    missing, asked = share
    networks, are = "network" if asked == 1 else "networks", "is" if missing == 1 else "are"
    return f"{missing} of {asked} {networks} {are} missing: failed or not yet run."


def _entries_table(result: "StudyResult", marks: Marks) -> str:
    """Write our accuracies, and the published ones beside them."""
    best = _best(result)

    def text(place: "Entry") -> str:
        if place not in result.entries:
            return ""
        entry = result.entries[place]
        own = _accuracy(entry, bold=place in best) + marks.get(_missing(entry), "")
        value = result.study.published.get(place)
        return own if value is None else f"{own} · *{_published(value)}*"

    return _grid(result.study, text)


def _accuracy(entry: "EntryResult", *, bold: bool = False) -> str:
    """Write an accuracy in percent with the number of networks; a single network has no deviation."""
    if entry.n == 0:
        return NOTHING
    number = accuracy(entry)
    return f"{f'**{number}**' if bold else number} ({entry.n})"


def _published(value: "Published") -> str:
    """Write a published accuracy."""
    return f"{value.mean:.1f}" + ("" if value.std is None else f"±{value.std:.1f}")


def _best(result: "StudyResult") -> set["Entry"]:
    """Find the entry of each column whose mean, as printed, is above all others."""
    found = set()
    for column in result.study.columns:
        places = [place for place in _declared(result) if place[1] == column and result.entries[place].n]
        means = {place: round(100 * result.entries[place].mean, 1) for place in places}
        highest = [place for place in places if means[place] == max(means.values())]
        if len(highest) == 1 < len(places):
            found.add(highest[0])
    return found


def _notation(result: "StudyResult", marks: Marks) -> str:
    """Explain the entries: marks, letters and numbers, and where published numbers are from."""
    entries = [result.entries[place] for place in _declared(result)]
    sizes = dict.fromkeys(_size(entry.accuracies, entry.origins) for entry in entries if entry.n)
    sentences = [
        "Each entry is the mean±standard deviation of the accuracy in % over n networks, with n in brackets"
        + (f"; n (sets × networks on each) is {', '.join(sizes)}." if sizes else "."),
        "Bold is the highest mean of a column." if _best(result) else "",
        f"{NOTHING} means that no network is finished." if any(entry.n == 0 for entry in entries) else "",
        _origin(result.study) if any(place in result.study.published for place in result.entries) else "",
    ]
    notes = [f"{mark} {_explained(share)}" for share, mark in marks.items()]
    return "\n\n".join([*notes, " ".join(sentence for sentence in sentences if sentence)])


def _origin(study: "Study") -> str:
    """Say what is published, and where."""
    return "In italics: published" + (f" ({plain(study.source)})." if study.source else ".")


def _size(networks: Collection[tuple[int, int]], origins: Mapping[int, str] | None = None) -> str:
    """Count networks, and the sets that they were trained on; networks are named by seed and number."""
    of_each_set = Counter((origins or {}).get(seed, seed) for seed, _ in networks)
    if len(set(of_each_set.values())) == 1:
        return f"{len(networks)} ({len(of_each_set)} × {len(networks) // len(of_each_set)})"
    return f"{len(networks)} (on {len(of_each_set)} sets)"


def _relative_part(result: "StudyResult", marks: Marks) -> str:
    """Write means relative to the mean on the whole data set."""
    full = result.full
    if full is None:
        return ""
    unfinished = f" {_explained(_missing(full))}" if full.missing else ""
    if full.n == 0 or full.mean == 0:
        return f"There is no accuracy on the whole data set to compare with.{unfinished}"

    def text(place: "Entry") -> str:
        if place not in result.entries:
            return ""
        entry = result.entries[place]
        share = f"{100 * entry.mean / full.mean:.1f}" if entry.n else NOTHING
        return share + marks.get(_missing(entry), "")

    sentence = f"100 % is the accuracy on the whole data set: {_accuracy(full)}.{unfinished}"
    return f"## Relative to the whole data set, %\n\n{_grid(result.study, text)}\n\n{sentence}"


def _claims_part(result: "StudyResult") -> str:
    """Write what the numbers say of published orderings."""
    if not result.study.claims:
        return ""
    checked = result.claims
    told = {claim.claim for claim in checked}
    untold = [plain(claim.text) for claim in result.study.claims if claim not in told]
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
        f"Not to be told yet: {'; '.join(untold)}." if untold else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _claim_row(checked: "ClaimResult", result: "StudyResult") -> list[str]:
    """Write one ordering; a single network can decide nothing."""
    size = _size(_paired(checked.claim, result))
    difference = points(checked.difference)
    published = "" if checked.published is None else points(checked.published)
    if checked.n == 1:
        return [plain(checked.claim.text), f"{difference} (no interval)", size, NOTHING, published]
    low, high = map(points, checked.interval)
    return [plain(checked.claim.text), f"{difference} ({low} to {high})", size, checked.verdict, published]


def _paired(claim: "Claim", result: "StudyResult") -> set[tuple[int, int]]:
    """Give the networks that are finished in all entries of an ordering."""
    entries = [result.entries[place] for place in (*claim.better, *claim.worse)]
    return set.intersection(*(set(entry.accuracies) for entry in entries))


def _verdicts(checked: Sequence["ClaimResult"]) -> str:
    """Explain differences, intervals and verdicts."""
    alone = any(claim.sets == 1 < claim.n for claim in checked)
    return (
        "Networks are paired by the seed of their set and by number; the interval is Student's t over the means of the "
        "sets. Reproduced: the interval lies above zero; contradicted: below; undecided: it holds zero; consistent: it "
        "holds zero, and the ordering allows equality."
        + (
            " A single set decides nothing: its interval, over networks, speaks of that set alone."
            if alone
            else ""
        )
    )
