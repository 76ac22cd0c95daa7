"""A run goes on with what is its own: stray files, vanished folders, torn logs, other lengths, Ctrl-C at any time."""

import errno
import itertools
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save as serialize

from datacondense import ImageSet, InputError, Progress, condense
from datacondense.condensation import loop
from datacondense.condensation.results import unfinished
from datacondense.evaluation.scoring import evaluate
from datacondense.run_folder import CHECKPOINT, RunFolder
from datacondense.tensor_files import read_tensors, write_tensors
from tests.condensation.made_runs import (
    METHOD,
    RESULT,
    RUN,
    Killed,
    break_run,
    kill_at,
    logged,
    result_bytes,
    unbroken,
)
from tests.conftest import MakeSet

OTHERS = {
    "seed": (METHOD, replace(RUN, seed=4)),
    "rate": (replace(METHOD, image_lr=0.1), RUN),
    "batch": (replace(METHOD, real_batch=5), RUN),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_run_is_never_continued(tiny: ImageSet, tmp_path: Path, other: str) -> None:
    break_run(tiny, METHOD, RUN, tmp_path / "run", at=(1, 1))
    break_run(tiny, *OTHERS[other], tmp_path / "other", at=(1, 0))
    shutil.copy(tmp_path / "other" / CHECKPOINT, tmp_path / "run" / CHECKPOINT)
    with pytest.raises(InputError, match=r"checkpoint.safetensors belongs to a run with other settings"):
        condense(tiny, METHOD, RUN, directory=tmp_path / "run", resume=True)


def test_a_checkpoint_on_other_data_is_never_continued(tiny: ImageSet, make: MakeSet, tmp_path: Path) -> None:
    break_run(tiny, METHOD, RUN, tmp_path / "run", at=(1, 1))
    break_run(make(seed=1), METHOD, RUN, tmp_path / "other", at=(1, 0))
    shutil.copy(tmp_path / "other" / CHECKPOINT, tmp_path / "run" / CHECKPOINT)
    with pytest.raises(InputError, match=r"checkpoint.safetensors belongs to a run with other settings"):
        condense(tiny, METHOD, RUN, directory=tmp_path / "run", resume=True)


@pytest.mark.parametrize("other", OTHERS)
def test_a_result_of_another_run_is_never_taken_for_this_one(
    tiny: ImageSet, tmp_path: Path, other: str
) -> None:
    unbroken(tiny, tmp_path / "run")
    condense(tiny, *OTHERS[other], directory=tmp_path / "other")
    shutil.copy(tmp_path / "other" / RESULT, tmp_path / "run" / RESULT)
    with pytest.raises(InputError, match=r"condensed.safetensors is the result of another run than settings"):
        condense(tiny, METHOD, RUN, directory=tmp_path / "run", resume=True)


def test_a_run_whose_folder_was_removed_does_not_make_it_anew(tiny: ImageSet, tmp_path: Path) -> None:
    def remove(progress: Progress) -> None:
        if progress.step == (0, 1):
            shutil.rmtree(tmp_path / "run")

    for rarely in (RUN, replace(RUN, checkpoint_every=1e9)):
        with pytest.raises(InputError, match=r"run lost its settings.json while the run went on"):
            condense(tiny, METHOD, rarely, directory=tmp_path / "run", observer=remove)
        assert not (tmp_path / "run").exists()


def test_a_result_is_not_saved_where_the_folder_was_removed(
    tiny: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = RunFolder.save_checkpoint

    def save_and_remove(self: RunFolder, *args: Any) -> None:
        save(self, *args)
        if args[1]["position"] == (2, 0):
            shutil.rmtree(self.path)

    monkeypatch.setattr(RunFolder, "save_checkpoint", save_and_remove)
    with pytest.raises(InputError, match=r"run lost its settings.json"):
        condense(tiny, METHOD, replace(RUN, checkpoint_every=1e9), directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_file_of_a_run_brings_a_removed_folder_back(
    tiny: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it is removed between the look at it and the write."""
    monkeypatch.setattr(RunFolder, "check_present", lambda self: None)
    monkeypatch.setattr(RunFolder, "log", lambda self, **entry: None)

    def remove_and_write(*args: Any) -> bytes:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return serialize(*args)

    monkeypatch.setattr("datacondense.tensor_files.serialize", remove_and_write)
    for every in (0, 1e9):
        with pytest.raises(
            InputError, match=r"checkpoint.safetensors cannot be written \(No such file or directory\)"
        ):
            condense(tiny, METHOD, replace(RUN, checkpoint_every=every), directory=tmp_path / "run")
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("failing", ["metrics.jsonl", ".checkpoint.safetensors"])
def test_a_disk_that_fails_while_a_checkpoint_is_flushed_is_a_sentence(
    tiny: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name.startswith(failing) and "metrics.jsonl." not in name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(InputError, match="No space left on the disk while writing"):
            condense(tiny, METHOD, RUN, directory=tmp_path / "run")
    condense(tiny, METHOD, RUN, directory=tmp_path / "run", resume=True)
    assert result_bytes(tmp_path / "run") == unbroken(tiny, tmp_path / "unbroken")


def test_a_finished_run_is_prolonged(tiny: ImageSet, tmp_path: Path) -> None:
    unbroken(tiny, tmp_path / "run")
    longer = replace(RUN, iterations=4, checkpoint_every=7.0)
    steps: list[Progress] = []
    condense(tiny, METHOD, longer, directory=tmp_path / "run", resume=True, observer=steps.append)
    assert [progress.step for progress in steps] == [(d, s) for d in (2, 3) for s in range(3)]
    condense(tiny, METHOD, longer, directory=tmp_path / "new")
    assert result_bytes(tmp_path / "run") == result_bytes(tmp_path / "new")
    assert logged(tmp_path / "run") == logged(tmp_path / "new")
    assert RunFolder(tmp_path / "run").settings() == RunFolder(tmp_path / "new").settings()


def test_a_run_that_is_being_prolonged_keeps_its_result_until_it_has_the_new_one(
    tiny: ImageSet, tmp_path: Path
) -> None:
    before = unbroken(tiny, tmp_path / "run")
    longer = replace(RUN, iterations=4)
    with pytest.raises(Killed):
        condense(tiny, METHOD, longer, directory=tmp_path / "run", resume=True, observer=kill_at(3, 1))
    assert result_bytes(tmp_path / "run") == before
    condense(tiny, METHOD, longer, directory=tmp_path / "run", resume=True)
    condense(tiny, METHOD, longer, directory=tmp_path / "new")
    assert result_bytes(tmp_path / "run") == result_bytes(tmp_path / "new")


def test_a_run_is_not_shortened_below_what_it_has_done(tiny: ImageSet, tmp_path: Path) -> None:
    unbroken(tiny, tmp_path)
    with pytest.raises(InputError, match="iterations is 1, but the run is in iteration 3: give more"):
        condense(tiny, METHOD, replace(RUN, iterations=1), directory=tmp_path, resume=True)


def test_how_often_checkpoints_are_written_may_change(tiny: ImageSet, tmp_path: Path) -> None:
    expected = unbroken(tiny, tmp_path / "unbroken")
    rarely = replace(RUN, checkpoint_every=1e9)
    with pytest.raises(KeyboardInterrupt):
        condense(tiny, METHOD, rarely, directory=tmp_path / "run", observer=kill_at(1, 0, KeyboardInterrupt))
    condense(tiny, METHOD, RUN, directory=tmp_path / "run", resume=True)
    assert result_bytes(tmp_path / "run") == expected


def test_one_step_is_taken_however_short_the_time(tiny: ImageSet, tmp_path: Path) -> None:
    short = replace(RUN, time_limit="0.000001s")
    condensed = condense(tiny, METHOD, short, directory=tmp_path)
    assert condensed.provenance["iterations_done"] == pytest.approx(1 / 3)
    assert [entry[:2] for entry in logged(tmp_path)] == [(0, 0)]
    before = result_bytes(tmp_path)
    condense(tiny, METHOD, short, directory=tmp_path, resume=True)
    assert result_bytes(tmp_path) == before


def test_ctrl_c_in_a_validation_loses_no_line(
    tiny: ImageSet, make: MakeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(RUN, iterations=3, validate_every=1, validation_networks=1, checkpoint_every=1e9)
    held_out = make(seed=2, per_class=2)
    condense(tiny, METHOD, run, validation=held_out, directory=tmp_path / "unbroken")
    count = itertools.count()

    def interrupted(*args: Any, **settings: Any) -> Any:
        if next(count) == 1:
            raise KeyboardInterrupt
        return evaluate(*args, **settings)

    monkeypatch.setattr("datacondense.condensation.loop.evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        condense(tiny, METHOD, run, validation=held_out, directory=tmp_path / "run")
    condense(tiny, METHOD, run, validation=held_out, directory=tmp_path / "run", resume=True)
    found, expected = (
        [{**entry, "seconds": 0} for entry in RunFolder(tmp_path / name).metrics()]
        for name in ("run", "unbroken")
    )
    assert found == expected
    assert sum("validation" in entry for entry in found) == 3
    assert result_bytes(tmp_path / "run") == result_bytes(tmp_path / "unbroken")


def test_the_log_is_on_the_disk_before_the_checkpoint(
    tiny: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    condense(tiny, METHOD, replace(RUN, checkpoint_every=1e9), directory=tmp_path)
    log, checkpoint = (
        next(n for n, name in enumerate(synced) if part in name) for part in ("metrics", "checkpoint")
    )
    assert log < checkpoint


@pytest.mark.parametrize(
    "tail", [b"\x00" * 40, b"\x00" * 40 + b"\n", b'{"iteration": 1, "st\n', b"\n\n", b"5\n"]
)
def test_what_a_crash_makes_of_the_end_of_the_log_is_left_out(
    tiny: ImageSet, tmp_path: Path, tail: bytes
) -> None:
    break_run(tiny, METHOD, RUN, tmp_path, at=(1, 0))
    before = logged(tmp_path)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(tail)
    assert logged(tmp_path) == before
    condense(tiny, METHOD, RUN, directory=tmp_path, resume=True)
    assert len(logged(tmp_path)) == 6


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        '{"iteration": 0, "step": 1, "loss": 1, "seconds": Infinity}',
        '{"iteration": "a", "step": 0, "loss": 1, "seconds": 1}',
        '{"loss": 1}',
    ],
)
def test_damage_in_the_middle_of_the_log_is_named(tiny: ImageSet, tmp_path: Path, line: str) -> None:
    break_run(tiny, METHOD, RUN, tmp_path, at=(1, 0))
    path = tmp_path / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[2:], ""]))
    with pytest.raises(
        InputError, match=r"metrics.jsonl is damaged in line 2: restore it from a copy, or delete"
    ):
        RunFolder(tmp_path).metrics()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": "[0]"}, "position"),
        ({"position": "[-1, 0]"}, "position"),
        ({"position": None}, "position"),
        ({"seconds": '"a"'}, "seconds"),
        ({"seconds": "-1"}, "seconds"),
        ({"facts": '{"mean": 1}'}, "facts"),
        ({"position": "[" * 100_000}, "recursion"),
    ],
)
def test_progress_of_another_form_is_refused(
    tiny: ImageSet, tmp_path: Path, change: dict[str, str | None], message: str
) -> None:
    break_run(tiny, METHOD, RUN, tmp_path, at=(1, 1))
    tensors, metadata = read_tensors(tmp_path / CHECKPOINT)
    kept = {name: value for name, value in (metadata | change).items() if value is not None}
    write_tensors(tmp_path / CHECKPOINT, tensors, kept)
    with pytest.raises(
        InputError, match=f"cannot be read as a checkpoint .*{message}.* start anew with --force"
    ):
        condense(tiny, METHOD, RUN, directory=tmp_path, resume=True)


def test_the_images_of_an_unfinished_run_are_those_of_a_run_that_ended_there(
    tiny: ImageSet, tmp_path: Path
) -> None:
    averaging = replace(METHOD, iterate_averaging=True)
    break_run(tiny, averaging, RUN, tmp_path / "run", at=(1, 0))
    ended = condense(tiny, averaging, replace(RUN, iterations=1))
    found = unfinished(RunFolder(tmp_path / "run"))
    assert torch.equal(found.images, ended.images)
    for name in ("labels", "class_names", "mean", "std", "dataset", "may_be_mirrored", "augmentation"):
        assert str(getattr(found, name)) == str(getattr(ended, name)), name
    assert found.provenance["unfinished"] == {"iteration": 1, "step": 0}
    found.save(tmp_path / "a.safetensors")
    assert ImageSet.load(tmp_path / "a.safetensors").fingerprint == found.fingerprint


def test_images_of_a_run_without_a_checkpoint_are_refused(tiny: ImageSet, tmp_path: Path) -> None:
    break_run(tiny, METHOD, replace(RUN, checkpoint_every=1e9), tmp_path, at=(1, 0))
    with pytest.raises(InputError, match="holds no result, and no checkpoint to take images from"):
        unfinished(RunFolder(tmp_path))


def test_a_run_stops_where_validations_no_longer_get_better_and_so_does_a_resumed_one(
    tiny: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By hand: the best, 0.5, is the second; two in a row that are no better end the run after the fourth.
    accuracies = {0: 0.4, 1: 0.5, 2: 0.5, 3: 0.45, 4: 0.9}
    steps: list[Progress] = []

    def scored(images: ImageSet, *_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(mean=accuracies[len(steps) // METHOD.steps_per_iteration], std=0.0, n=1)

    monkeypatch.setattr(loop, "evaluate", scored)
    run = replace(RUN, iterations=5, validate_every=1, patience=2)
    condense(tiny, METHOD, run, validation=tiny, directory=tmp_path / "unbroken", observer=steps.append)
    assert [each.step.outer for each in steps if each.stopped] == [3]
    assert ImageSet.load(tmp_path / "unbroken" / RESULT).provenance["iterations_done"] == 4

    def kill_after(progress: Progress) -> None:
        steps.append(progress)
        if progress.step == (3, 0):  # three validations are in the log, and on the disk
            raise Killed

    steps.clear()
    with pytest.raises(Killed):
        condense(tiny, METHOD, run, validation=tiny, directory=tmp_path / "run", observer=kill_after)
    steps.pop()  # this step is taken again
    condense(
        tiny, METHOD, run, validation=tiny, directory=tmp_path / "run", observer=steps.append, resume=True
    )
    assert result_bytes(tmp_path / "run") == result_bytes(tmp_path / "unbroken")
