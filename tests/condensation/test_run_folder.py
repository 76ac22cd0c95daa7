"""A run's folder: what lies in it, going on after a break at any point, and what is discarded or refused."""

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datacondense import ImageSet, InputError, Progress, condense
from datacondense.run_folder import RunFolder
from tests.condensation.made_runs import (
    METHOD,
    RESULT,
    RUN,
    Killed,
    break_run,
    logged,
    result_bytes,
    unbroken,
)
from tests.conftest import forbid, make_set

FILES = {"settings.json", "metrics.jsonl", "checkpoint.safetensors", RESULT, ".lock"}


def test_the_folder_holds_settings_log_checkpoint_and_result(tiny: ImageSet, tmp_path: Path) -> None:
    condense(tiny, METHOD, RUN, directory=tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["settings"]["network"] == METHOD.network
    assert settings["run"]["seed"] == 3
    assert settings["source"] == {
        "name": "made",
        "num_images": 36,
        "fingerprint": tiny.fingerprint,
        "hold_out": None,
    }
    assert settings["environment"]["threads"] == torch.get_num_threads()
    assert (settings["environment"]["engine"], settings["environment"]["precision"]) == ("eager", "float32")
    assert [entry[:2] for entry in logged(tmp_path / "run")] == [(d, s) for d in range(2) for s in range(3)]


def test_a_half_written_line_of_the_log_is_dropped(tiny: ImageSet, tmp_path: Path) -> None:
    expected = unbroken(tiny, tmp_path / "unbroken")

    break_run(tiny, METHOD, RUN, tmp_path / "run", at=(1, 0))
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 1, "st')
    condense(tiny, METHOD, RUN, directory=tmp_path / "run", resume=True)
    assert result_bytes(tmp_path / "run") == expected
    assert logged(tmp_path / "run") == logged(tmp_path / "unbroken")


def test_ctrl_c_saves_the_last_step(tiny: ImageSet, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == (1, 1):
            raise KeyboardInterrupt

    rarely = replace(RUN, checkpoint_every=1e9)
    with pytest.raises(KeyboardInterrupt):
        condense(tiny, METHOD, rarely, directory=tmp_path / "run", observer=interrupt)
    seen: list[Progress] = []
    resumed = condense(tiny, METHOD, rarely, directory=tmp_path / "run", resume=True, observer=seen.append)
    assert [progress.step for progress in seen] == [(1, 2)]
    assert torch.equal(resumed.images, condense(tiny, METHOD, RUN).images)


def test_resume_in_an_empty_folder_begins_a_run(tiny: ImageSet, tmp_path: Path) -> None:
    condense(tiny, METHOD, RUN, directory=tmp_path / "new", resume=True)
    assert result_bytes(tmp_path / "new") == unbroken(tiny, tmp_path / "unbroken")


def test_resume_of_a_finished_run_reads_it(tiny: ImageSet, tmp_path: Path) -> None:
    before = unbroken(tiny, tmp_path)
    steps: list[Progress] = []
    again = condense(tiny, METHOD, RUN, directory=tmp_path, resume=True, observer=steps.append)
    assert not steps
    assert torch.equal(again.images, ImageSet.load(tmp_path / RESULT).images)
    assert result_bytes(tmp_path) == before


def test_resume_of_a_finished_run_with_other_settings_is_refused(tiny: ImageSet, tmp_path: Path) -> None:
    before = unbroken(tiny, tmp_path)
    with pytest.raises(
        InputError, match=r"other settings: run.seed was 3 and is now 5; settings.image_lr was 0.5"
    ):
        condense(tiny, replace(METHOD, image_lr=0.1), replace(RUN, seed=5), directory=tmp_path, resume=True)
    assert result_bytes(tmp_path) == before


def test_an_unfinished_run_needs_resume_or_force(tiny: ImageSet, tmp_path: Path) -> None:
    break_run(tiny, METHOD, RUN, tmp_path, at=(1, 1))
    with pytest.raises(
        InputError, match="an unfinished run: continue it with --resume, or discard it with --force"
    ):
        condense(tiny, METHOD, RUN, directory=tmp_path)
    with pytest.raises(InputError, match="resume and force contradict each other"):
        condense(tiny, METHOD, RUN, directory=tmp_path, resume=True, force=True)


def test_settings_that_do_not_fit_discard_nothing(tiny: ImageSet, tmp_path: Path) -> None:
    before = unbroken(tiny, tmp_path)
    with pytest.raises(InputError, match="which is none of this network's parameters"):
        condense(tiny, replace(METHOD, compare="nothing.*"), RUN, directory=tmp_path, force=True)
    assert result_bytes(tmp_path) == before


def test_two_runs_do_not_share_a_folder(tiny: ImageSet, tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path).claimed(),
        pytest.raises(InputError, match="in use by another run: wait for it to end, or give another --out"),
    ):
        condense(tiny, METHOD, RUN, directory=tmp_path)


def test_a_damaged_checkpoint_is_named(tiny: ImageSet, tmp_path: Path) -> None:
    unbroken(tiny, tmp_path)
    (tmp_path / RESULT).unlink()
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x00\x01")
    with pytest.raises(
        InputError, match=r"checkpoint.safetensors cannot be read .* or start anew with --force"
    ):
        condense(tiny, METHOD, RUN, directory=tmp_path, resume=True)


def test_force_leaves_what_a_run_in_a_new_folder_leaves(tiny: ImageSet, tmp_path: Path) -> None:
    old, other = tmp_path / "old", replace(RUN, seed=4)
    before = unbroken(tiny, old)
    with pytest.raises(InputError, match=r"holds a finished run: give another folder .*, or --force"):
        condense(tiny, METHOD, other, directory=old)
    assert result_bytes(old) == before
    (old / "notes.txt").write_text("mine")
    condense(tiny, METHOD, other, directory=old, force=True)
    condense(tiny, METHOD, other, directory=tmp_path / "new")
    assert result_bytes(old) == result_bytes(tmp_path / "new")
    assert logged(old) == logged(tmp_path / "new")
    assert RunFolder(old).settings() == RunFolder(tmp_path / "new").settings()
    assert (old / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("removed", range(1, 5))
def test_a_run_killed_while_it_discards_another_never_looks_finished(
    tiny: ImageSet, tmp_path: Path, removed: int
) -> None:
    before, count, unlink = unbroken(tiny, tmp_path), itertools.count(1), Path.unlink

    def unlink_and_die(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok=missing_ok)
        if next(count) == removed:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_and_die)
        with pytest.raises(Killed):
            condense(tiny, METHOD, replace(RUN, seed=4), directory=tmp_path, force=True)
    assert not (tmp_path / RESULT).exists()
    # The old run can still be had, with its own settings.
    condense(tiny, METHOD, RUN, directory=tmp_path, resume=True)
    assert result_bytes(tmp_path) == before


def test_a_setting_that_is_gone_or_new_is_named(tiny: ImageSet, tmp_path: Path) -> None:
    break_run(tiny, METHOD, RUN, tmp_path, at=(1, 1))
    path = tmp_path / "settings.json"
    settings = json.loads(path.read_text())
    for change, message in (
        ({**settings["settings"], "haste": 2}, r"settings\.haste was 2 and is now None"),
        (
            {key: value for key, value in settings["settings"].items() if key != "ipc"},
            r"settings\.ipc was None and is now 2",
        ),
    ):
        path.write_text(json.dumps({**settings, "settings": change}))
        with pytest.raises(InputError, match=message):
            condense(tiny, METHOD, RUN, directory=tmp_path, resume=True)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("left", ["checkpoint.safetensors", "condensed.safetensors"])
def test_what_has_lost_its_settings_does_not_become_another_run(
    tiny: ImageSet, tmp_path: Path, left: str, resume: bool
) -> None:
    condense(tiny, METHOD, RUN, directory=tmp_path / "run")
    stray = tmp_path / "stray" / left
    stray.parent.mkdir()
    stray.write_bytes((tmp_path / "run" / left).read_bytes())
    other = replace(RUN, seed=4)
    with pytest.raises(InputError, match=f"{left}|finished run"):
        condense(tiny, METHOD, other, directory=stray.parent, resume=resume)
    assert stray.read_bytes() == (tmp_path / "run" / left).read_bytes()
    condense(tiny, METHOD, other, directory=stray.parent, force=True)
    condense(tiny, METHOD, other, directory=tmp_path / "new")
    assert result_bytes(stray.parent) == result_bytes(tmp_path / "new")


def moves(monkeypatch: pytest.MonkeyPatch, stop_at: int, *, after: bool) -> Iterator[int]:
    """Kill the process at its n-th move of a file into place, before or after the move."""
    count = itertools.count(1)
    move = Path.replace

    def replace_or_die(self: Path, target: Path) -> Path:
        number = next(count)
        if number == stop_at and not after:
            raise Killed
        result = move(self, target)
        if number == stop_at:
            raise Killed
        return result

    monkeypatch.setattr(Path, "replace", replace_or_die)
    return count


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing breaks."""
    folder = tmp_path_factory.mktemp("full")
    unbroken(make_set(), folder)
    return folder


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("stop_at", range(1, 11))
def test_a_run_killed_at_any_file_operation_ends_bit_identical(
    tiny: ImageSet, full: Path, tmp_path: Path, stop_at: int, after: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        moves(patch, stop_at, after=after)
        with pytest.raises(Killed):
            condense(tiny, METHOD, RUN, directory=tmp_path / "run")
    # A killed process does not tidy up.
    (tmp_path / "run" / f".checkpoint.safetensors.{os.getpid()}.datacondense-part").touch()
    condense(tiny, METHOD, RUN, directory=tmp_path / "run", resume=True)
    assert result_bytes(tmp_path / "run") == result_bytes(full)
    assert logged(tmp_path / "run") == logged(full)
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_a_folder_that_nobody_may_look_into_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"cannot be written \(File name too long\): choose another path"):
        RunFolder(tmp_path / ("a" * 300)).check(resume=False, force=False)
    forbid(tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"cannot be written \(permission denied\): choose a folder"):
        RunFolder(tmp_path).check(resume=False, force=False)
    assert not RunFolder(tmp_path).has_settings


def test_what_another_user_locked_may_be_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    (tmp_path / ".lock").touch()
    assert not RunFolder(tmp_path).is_claimed()
    monkeypatch.setattr("datacondense.locking.FileLock.acquire", refuse)
    assert RunFolder(tmp_path).is_claimed()
