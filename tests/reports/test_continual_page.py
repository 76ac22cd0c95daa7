"""The table of what networks know after the last stage, from numbers made by hand."""

import pandas as pd

from datacondense.applications.continual_results import COSTS, TESTS, ContinualResult
from datacondense.reports.continual_page import last_stage_part
from datacondense.reports.layout import NOTHING
from tests.reports.made_studies import study, table_of


def test_making_is_averaged_over_the_stages_that_kept_something() -> None:
    tests = [
        (row, 0, 0, *line)
        for row in ("herding", "nothing")
        for line in ((1, 1, 0.9), (2, 1, 0.7), (2, 2, 0.8), (3, 1, 0.6), (3, 2, 0.7), (3, 3, 0.8))
    ]
    costs = [
        ("herding", 0, 0, 1, 0, 0, 0.0, 10.0),
        ("herding", 0, 0, 2, 20, 640, 4.0, 20.0),
        ("herding", 0, 0, 3, 40, 1280, 8.0, 30.0),
        *(("nothing", 0, 0, stage, 0, 0, 0.0, 10.0) for stage in (1, 2, 3)),
    ]
    result = ContinualResult(
        means=study({}),
        tested=("a", "b", "c"),
        tests=pd.DataFrame(tests, columns=TESTS),
        costs=pd.DataFrame(costs, columns=COSTS),
    )
    kept, nothing = table_of(last_stage_part(result), "## After the last stage")
    assert (kept[0], *kept[-2:]) == ("herding", "6.0", "20.0")
    assert (nothing[0], *nothing[-2:]) == ("nothing", NOTHING, "10.0")
