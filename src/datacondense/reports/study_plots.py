"""Pictures of studies: a heat map of the table, curves along columns that are numbers, or paired differences."""

from pathlib import Path
from typing import TYPE_CHECKING

from datacondense.reports.plotting import save_png
from datacondense.reports.study_curves import curves
from datacondense.reports.study_differences import differences
from datacondense.reports.study_heat_map import heat_map

if TYPE_CHECKING:
    from datacondense.studies.results import StudyResult

_DRAWINGS = {"heat map": heat_map, "curves": curves, "differences": differences}


def plot_study(result: "StudyResult", path: Path | str) -> None:
    """Draw a study as a PNG picture; the same numbers give the same bytes with the same matplotlib.

    A heat map shows mean accuracies in percent with ± one standard deviation over networks; entries without numbers
    are hatched. Curves show the means with a band of their 95 % intervals, published values dashed, and in a second
    panel the same relative to the whole data set, where its accuracy is known. Differences show what each paired entry
    is above its partner, with 95 % intervals, a panel for each column.

    Args:
        result: The study and its numbers.
        path: The PNG file to write.

    Raises:
        InputError: The columns of a study drawn as curves are no numbers, a study drawn as differences pairs no
            entries, or the file cannot be written.
    """
    save_png(_DRAWINGS[result.study.plot](result), path)
