"""Plots of studies: a heat map of the table, curves over columns that are numbers, or paired differences."""

from pathlib import Path

from datacondense.reports.plotting import save_png
from datacondense.reports.study_curves import curves
from datacondense.reports.study_differences import differences
from datacondense.reports.study_heat_map import heat_map
from datacondense.studies.results import StudyResult

_PLOTS = {"heat map": heat_map, "curves": curves, "differences": differences}


def plot_study(result: StudyResult, path: Path | str) -> None:
    """Plot a study as a PNG file; the same numbers give the same bytes with the same matplotlib.

    A heat map shows mean accuracies in percent with ± one standard deviation over networks; entries without numbers
    are hatched. Curves show the means with bands of their 95 % intervals, published values dashed, and a second panel
    relative to the full data set if its accuracy is known. Differences show each paired entry relative to its partner,
    with 95 % intervals, in a panel for each column.

    Args:
        result: The study and its numbers.
        path: The PNG file to write.

    Raises:
        InputError: A column of a study plotted as curves is not a number, a study plotted as differences pairs no
            entries, or the file cannot be written.
    """
    save_png(_PLOTS[result.study.plot](result), path)
