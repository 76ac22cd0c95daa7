"""What watches a run: the table, TensorBoard's files, the picture and the bar, also of a run that is resumed."""

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datacondense import (
    CsvObserver,
    ImageSet,
    InputError,
    PictureObserver,
    Progress,
    TensorBoardObserver,
    condense,
    plot_grid,
    progress_bar,
    together,
)
from datacondense.reports.observers import Observer
from tests.condensation.made_runs import METHOD, RUN, Killed, kill_at, logged

STEPS = [(outer, inner) for outer in range(2) for inner in range(METHOD.matching_steps or 0)]


def watched(train: ImageSet, folder: Path, observer: Observer, **changes: Any) -> ImageSet:
    return condense(train, METHOD, replace(RUN, **changes), directory=folder, resume=True, observer=observer)


def break_and_resume(train: ImageSet, folder: Path, observer: Observer, again: Observer) -> None:
    """Kill a run after a step that its checkpoint does not hold, and go on with it."""
    with pytest.raises(Killed):
        watched(train, folder, together(observer, kill_at(1, 1)))
    watched(train, folder, again)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_what_the_log_has_and_the_accuracies(tiny: ImageSet, tmp_path: Path) -> None:
    seen: list[Progress] = []
    observer = together(CsvObserver(tmp_path / "run.csv"), seen.append)
    condense(
        tiny,
        METHOD,
        replace(RUN, validate_every=2, validation_networks=2),
        validation=tiny,
        directory=tmp_path / "run",
        observer=observer,
    )
    found = rows(tmp_path / "run.csv")
    assert [(int(row["iteration"]), int(row["step"]), float(row["loss"])) for row in found] == logged(
        tmp_path / "run"
    )
    assert [float(row["seconds"]) for row in found] == [progress.seconds for progress in seen]
    assert [row["validation_accuracy"] for row in found[:-1]] == [""] * (len(STEPS) - 1)
    score = seen[-1].validation
    assert score is not None
    assert float(found[-1]["validation_accuracy"]) == score.mean
    assert float(found[-1]["validation_std"]) == score.std
    assert found[-1]["validation_n"] == "2"


def test_the_table_of_a_resumed_run_has_each_step_once(tiny: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    with pytest.raises(Killed):
        watched(tiny, tmp_path / "run", together(CsvObserver(path), kill_at(1, 1)))
    with path.open("a") as file:
        file.write("1,2,0.")  # what a kill leaves of a row
    watched(tiny, tmp_path / "run", CsvObserver(path))
    assert [(int(row["iteration"]), int(row["step"])) for row in rows(path)] == STEPS


def test_a_table_of_something_else_is_not_overwritten(tiny: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("product,price\ntea,3\n")
    with pytest.raises(InputError, match=r"prices.csv is no table of a run, and is not overwritten: give an"):
        condense(tiny, METHOD, RUN, observer=CsvObserver(path))
    assert path.read_text() == "product,price\ntea,3\n"


@pytest.mark.parametrize("row", ["0,one,7.5,2.0,,,", f"0,1,{'7' * 200_000},2.0,,,"])
def test_a_damaged_table_is_one_sentence(row: str, tiny: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    names = "iteration,step,loss,seconds,validation_accuracy,validation_std,validation_n"
    path.write_text(f"{names}\n{row}\n")
    with pytest.raises(InputError, match=r"run\.csv cannot be read as a table of a run \(.*\): give another"):
        condense(tiny, METHOD, RUN, observer=CsvObserver(path))


def test_a_table_that_cannot_be_written_is_one_sentence(tiny: ImageSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        condense(tiny, METHOD, RUN, observer=CsvObserver(tmp_path / "file" / "run.csv"))
    with pytest.raises(InputError, match=r"cannot be written \(File name too long\)"):
        condense(tiny, METHOD, RUN, observer=CsvObserver(tmp_path / ("a" * 300)))


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    """Read TensorBoard's files as TensorBoard does."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulated = events.EventAccumulator(str(folder))
    accumulated.Reload()
    return [(event.step, event.value) for event in accumulated.Scalars(tag)]


def test_tensorboard_shows_each_step_of_a_resumed_run_once(tiny: ImageSet, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with TensorBoardObserver(tmp_path / "logs") as first, TensorBoardObserver(tmp_path / "logs") as second:
        break_and_resume(tiny, tmp_path / "run", first, second)
    expected = [(number, loss) for number, (_, _, loss) in enumerate(logged(tmp_path / "run"))]
    found = scalars(tmp_path / "logs", "loss")
    assert [number for number, _ in found] == list(range(len(STEPS)))
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in expected])
    seconds = [value for _, value in scalars(tmp_path / "logs", "seconds")]
    assert seconds == sorted(seconds)


def test_tensorboard_shows_accuracies_and_images(tiny: ImageSet, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    seen: list[Progress] = []
    run = replace(RUN, validate_every=2, validation_networks=1)
    with TensorBoardObserver(tmp_path / "logs", pictures_every=1) as observer:
        condense(tiny, METHOD, run, validation=tiny, observer=together(observer, seen.append))
    score = seen[-1].validation
    assert score is not None
    ((number, accuracy),) = scalars(tmp_path / "logs", "validation accuracy")
    assert number == len(STEPS) - 1
    assert accuracy == pytest.approx(score.mean)
    accumulated = events.EventAccumulator(str(tmp_path / "logs"))
    accumulated.Reload()
    assert [event.step for event in accumulated.Images("images")] == [2, 5]


def test_tensorboard_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'datacondense\[tensorboard\]'"):
        TensorBoardObserver(tmp_path)


def test_the_picture_shows_the_images_as_they_are_at_the_end_of_an_iteration(
    tiny: ImageSet, tmp_path: Path
) -> None:
    pictures: list[Any] = []
    path = tmp_path / "live.png"

    def read(progress: Progress) -> None:
        pictures.append(np.asarray(Image.open(path)) if path.exists() else None)

    watched(tiny, tmp_path / "run", together(PictureObserver(path, 2), read), iterations=4)
    changed = [
        index
        for index, (before, now) in enumerate(zip([None, *pictures], pictures, strict=False))
        if now is not None and (before is None or not np.array_equal(before, now))
    ]
    assert changed == [5, 11]  # the last steps of the second and the fourth iteration


def test_the_last_picture_is_that_of_the_result(tiny: ImageSet, tmp_path: Path) -> None:
    result = condense(tiny, METHOD, RUN, observer=PictureObserver(tmp_path / "live.png", 2))
    plot_grid(result, tmp_path / "result.png")
    live, plotted = (np.asarray(Image.open(tmp_path / name)) for name in ("live.png", "result.png"))
    above = slice(0, live.shape[0] - 24)  # the caption of a result tells more
    np.testing.assert_array_equal(live[above], plotted[above])


def test_images_of_a_step_stay_those_of_that_step(tiny: ImageSet) -> None:
    seen: list[Progress] = []
    result = condense(tiny, METHOD, RUN, observer=seen.append)
    prints = [progress.images().fingerprint for progress in seen]
    assert len(set(prints)) == len(STEPS)
    assert prints[-1] == result.fingerprint


def test_every_is_at_least_one() -> None:
    with pytest.raises(InputError, match=r"every is 0 iterations, but must be at least 1\."):
        PictureObserver("live.png", 0)
    with pytest.raises(InputError, match=r"every is -1 iterations"):
        TensorBoardObserver("logs", pictures_every=-1)


def test_the_bar_ends_full(tiny: ImageSet, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as observer:
        condense(tiny, METHOD, RUN, observer=observer)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "100%" in last
    assert "2/2" in last
    assert "loss=" in last
