"""Counting, stopping, resuming after a break at any point, validation, and what is refused."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from datacondense.condensation.config import RunConfig
from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.condensation.loop import Progress, condense
from datacondense.condensation.run_folder import RunFolder
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from tests.conftest import MakeSet, has_kernels

METHOD = GradientMatchingConfig(
    ipc=2, network="convnet-w4-d1-bn", matching_steps=3, network_epochs=2, real_batch=4, image_lr=0.5
)
RUN = RunConfig(seed=3, iterations=2, checkpoint_every=0)
FILES = {"settings.json", "metrics.jsonl", "checkpoint.safetensors", "condensed.safetensors", ".lock"}


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the library catches it."""


def kill_late(progress: Progress) -> None:
    if progress.step == (1, 1):
        raise Killed


def unbroken(train: ImageSet, folder: Path) -> bytes:
    """Give the bytes of the result of a run that nothing breaks."""
    condense(train, METHOD, RUN, directory=folder)
    return (folder / "condensed.safetensors").read_bytes()


def losses(folder: Path) -> list[tuple[int, int, float]]:
    """Read the log without its clock."""
    return [(entry["iteration"], entry["step"], entry["loss"]) for entry in RunFolder(folder).metrics()]


def test_the_folder_holds_settings_log_checkpoint_and_result(tiny: ImageSet, tmp_path: Path) -> None:
    condensed = condense(tiny, METHOD, RUN, directory=tmp_path / "run")
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
    assert [entry[:2] for entry in losses(tmp_path / "run")] == [(d, s) for d in range(2) for s in range(3)]
    saved = ImageSet.load(tmp_path / "run" / "condensed.safetensors")
    assert torch.equal(saved.images, condensed.images)
    assert saved.provenance == json.loads(json.dumps(condensed.provenance))
    assert saved.provenance["iterations_done"] == 2
    assert saved.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert (saved.mean, saved.std, saved.class_names) == (tiny.mean, tiny.std, tiny.class_names)


def test_same_seed_same_bytes_other_seed_others(tiny: ImageSet, tmp_path: Path) -> None:
    first = unbroken(tiny, tmp_path / "a")
    assert unbroken(tiny, tmp_path / "b") == first
    other = condense(tiny, METHOD, replace(RUN, seed=4))
    assert not torch.equal(other.images, ImageSet.load(tmp_path / "a" / "condensed.safetensors").images)


def test_the_result_is_in_pixel_scale(tiny: ImageSet) -> None:
    # Real images that hardly move must come back as they were read.
    still = replace(METHOD, start="real", image_lr=1e-9)
    condensed = condense(tiny, still, replace(RUN, iterations=1))
    assert condensed.images.dtype == torch.float32
    read = {tuple(image.flatten().tolist()) for image in tiny.images}
    back = (condensed.images * 255).round().to(torch.uint8)
    assert all(tuple(image.flatten().tolist()) in read for image in back)
    torch.testing.assert_close(condensed.images, back / 255, rtol=0, atol=1e-5)


def test_the_clock_goes_on_after_a_resume(tiny: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        condense(tiny, METHOD, RUN, directory=tmp_path, observer=kill_late)
    folder = RunFolder(tmp_path)
    saved = folder.restore(torch.device("cpu"))
    assert saved is not None
    folder.save_checkpoint(saved._replace(seconds=1000.0))
    condense(tiny, METHOD, RUN, directory=tmp_path, resume=True)
    assert 1000 < folder.metrics()[-1]["seconds"] < 1060


@pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_broken_run_of_the_fused_engine_ends_with_the_same_bytes(
    tiny: ImageSet, tmp_path: Path, precision: Literal["bfloat16", "float32"]
) -> None:
    method = replace(METHOD, network="convnet-w32-d2", engine="fused", precision=precision)

    full = condense(tiny, method, RUN, directory=tmp_path / "whole")
    used = full.provenance["environment"]
    assert (used["engine"], used["precision"]) == ("fused", precision)
    with pytest.raises(Killed):
        condense(tiny, method, RUN, directory=tmp_path / "broken", observer=kill_late)
    condense(tiny, method, RUN, directory=tmp_path / "broken", resume=True)
    broken, unbroken = (tmp_path / name / "condensed.safetensors" for name in ("broken", "whole"))
    assert broken.read_bytes() == unbroken.read_bytes()


def test_global_generators_are_neither_read_nor_seeded(tiny: ImageSet) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = condense(tiny, METHOD, RUN)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(condense(tiny, METHOD, RUN).images, first.images)


def test_images_learn(tiny: ImageSet) -> None:
    seen: list[float] = []
    condense(
        tiny,
        replace(METHOD, ipc=1, matching_steps=1, image_lr=1.0),
        RunConfig(iterations=60),
        observer=lambda progress: seen.append(progress.loss),
    )
    assert sum(seen[-10:]) < 0.8 * sum(seen[:10])


@pytest.mark.parametrize("killed_after", range(1, 6))
def test_a_run_killed_after_any_step_ends_bit_identical(
    tiny: ImageSet, tmp_path: Path, killed_after: int
) -> None:
    expected = unbroken(tiny, tmp_path / "unbroken")
    steps = itertools.count(1)

    def kill(_: Progress) -> None:
        if next(steps) == killed_after:
            raise Killed

    with pytest.raises(Killed):
        condense(tiny, METHOD, RUN, directory=tmp_path / "run", observer=kill)
    condense(tiny, METHOD, RUN, directory=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "condensed.safetensors").read_bytes() == expected
    assert losses(tmp_path / "run") == losses(tmp_path / "unbroken")


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


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("stop_at", range(1, 11))
def test_a_run_killed_at_any_file_operation_ends_bit_identical(
    tiny: ImageSet, tmp_path: Path, stop_at: int, after: bool
) -> None:
    expected = unbroken(tiny, tmp_path / "unbroken")
    with pytest.MonkeyPatch.context() as patch:
        moves(patch, stop_at, after=after)
        with pytest.raises(Killed):
            condense(tiny, METHOD, RUN, directory=tmp_path / "run")
    # A killed process does not tidy up.
    (tmp_path / "run" / ".checkpoint.safetensors.77.part").touch()
    condense(tiny, METHOD, RUN, directory=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "condensed.safetensors").read_bytes() == expected
    assert losses(tmp_path / "run") == losses(tmp_path / "unbroken")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_a_half_written_log_line_is_dropped(tiny: ImageSet, tmp_path: Path) -> None:
    expected = unbroken(tiny, tmp_path / "unbroken")

    def kill(progress: Progress) -> None:
        if progress.step == (1, 0):
            raise Killed

    with pytest.raises(Killed):
        condense(tiny, METHOD, RUN, directory=tmp_path / "run", observer=kill)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 1, "st')
    condense(tiny, METHOD, RUN, directory=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "condensed.safetensors").read_bytes() == expected
    assert losses(tmp_path / "run") == losses(tmp_path / "unbroken")


def test_ctrl_c_saves_the_last_whole_step(tiny: ImageSet, tmp_path: Path) -> None:
    expected = unbroken(tiny, tmp_path / "unbroken")

    def interrupt(progress: Progress) -> None:
        if progress.step == (1, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        condense(
            tiny, METHOD, replace(RUN, checkpoint_every=1e9), directory=tmp_path / "a", observer=interrupt
        )
    assert (tmp_path / "a" / "checkpoint.safetensors").exists()
    resumed: list[Any] = []
    condense(
        tiny,
        METHOD,
        replace(RUN, checkpoint_every=1e9),
        directory=tmp_path / "a",
        resume=True,
        observer=lambda progress: resumed.append(progress.step),
    )
    assert resumed == [(1, 2)]
    images = ImageSet.load(tmp_path / "a" / "condensed.safetensors").images
    (tmp_path / "expected").write_bytes(expected)
    assert torch.equal(images, ImageSet.load(tmp_path / "expected").images)


def test_resume_where_nothing_is_begins(tiny: ImageSet, tmp_path: Path) -> None:
    condense(tiny, METHOD, RUN, directory=tmp_path / "new", resume=True)
    assert (tmp_path / "new" / "condensed.safetensors").read_bytes() == unbroken(tiny, tmp_path / "unbroken")


def test_resume_of_a_finished_run_reads_it(tiny: ImageSet, tmp_path: Path) -> None:
    before = unbroken(tiny, tmp_path)
    steps: list[Progress] = []
    again = condense(tiny, METHOD, RUN, directory=tmp_path, resume=True, observer=steps.append)
    assert not steps
    assert torch.equal(again.images, ImageSet.load(tmp_path / "condensed.safetensors").images)
    assert (tmp_path / "condensed.safetensors").read_bytes() == before


def test_resume_with_other_settings_names_what_differs(tiny: ImageSet, tmp_path: Path, make: MakeSet) -> None:
    before = unbroken(tiny, tmp_path)
    with pytest.raises(
        InputError, match=r"other settings: run.seed was 3 and is now 5; settings.image_lr was 0.5"
    ):
        condense(tiny, replace(METHOD, image_lr=0.1), replace(RUN, seed=5), directory=tmp_path, resume=True)
    with pytest.raises(
        InputError, match=r"source.fingerprint was '\w{16}' and is now '\w{16}'\. Give the old"
    ):
        condense(make(seed=1), METHOD, RUN, directory=tmp_path, resume=True)
    assert (tmp_path / "condensed.safetensors").read_bytes() == before


def test_a_finished_run_is_overwritten_only_with_force(tiny: ImageSet, tmp_path: Path) -> None:
    before = unbroken(tiny, tmp_path)
    other = replace(RUN, seed=4)
    with pytest.raises(InputError, match="holds a finished run: give another --out, or --force to overwrite"):
        condense(tiny, METHOD, other, directory=tmp_path)
    assert (tmp_path / "condensed.safetensors").read_bytes() == before
    (tmp_path / "notes.txt").write_text("mine")
    condense(tiny, METHOD, other, directory=tmp_path, force=True)
    assert (tmp_path / "condensed.safetensors").read_bytes() != before
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_unfinished_run_wants_a_decision(tiny: ImageSet, tmp_path: Path) -> None:
    def kill(_: Progress) -> None:
        raise Killed

    with pytest.raises(Killed):
        condense(tiny, METHOD, RUN, directory=tmp_path, observer=kill_late)
    with pytest.raises(InputError, match="unfinished run: --resume to continue it, or --force to begin anew"):
        condense(tiny, METHOD, RUN, directory=tmp_path)
    with pytest.raises(InputError, match="--resume and --force contradict each other"):
        condense(tiny, METHOD, RUN, directory=tmp_path, resume=True, force=True)


def test_bad_settings_discard_nothing(tiny: ImageSet, tmp_path: Path) -> None:
    before = unbroken(tiny, tmp_path)
    with pytest.raises(InputError, match="which is none of this network's parameters"):
        condense(tiny, replace(METHOD, compare="nothing.*"), RUN, directory=tmp_path, force=True)
    assert (tmp_path / "condensed.safetensors").read_bytes() == before


def test_two_runs_do_not_share_a_folder(tiny: ImageSet, tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path).claimed(),
        pytest.raises(InputError, match="in use by another run: wait for it to end, or give another --out"),
    ):
        condense(tiny, METHOD, RUN, directory=tmp_path)


def test_a_damaged_checkpoint_is_named(tiny: ImageSet, tmp_path: Path) -> None:
    unbroken(tiny, tmp_path)
    (tmp_path / "condensed.safetensors").unlink()
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x00\x01")
    with pytest.raises(InputError, match=r"checkpoint.safetensors is damaged .* or begin anew with --force"):
        condense(tiny, METHOD, RUN, directory=tmp_path, resume=True)


def test_a_time_limit_ends_with_a_complete_result(tiny: ImageSet, tmp_path: Path) -> None:
    began = time.monotonic()
    condensed = condense(
        tiny, METHOD, RunConfig(iterations=10**6, time_limit="0.5s", checkpoint_every=1e9), directory=tmp_path
    )
    assert time.monotonic() - began < 5
    assert 0 < condensed.provenance["iterations_done"] < 10**6
    assert (tmp_path / "condensed.safetensors").exists()
    steps = len(RunFolder(tmp_path).metrics())
    assert condensed.provenance["iterations_done"] == pytest.approx(steps / 3)


def test_progress_estimates_what_is_left(tiny: ImageSet) -> None:
    seen: list[Progress] = []
    condense(tiny, METHOD, RUN, observer=seen.append)
    assert [progress.step for progress in seen] == [(d, s) for d in range(2) for s in range(3)]
    left = [progress.seconds_left for progress in seen]
    assert left[-1] == 0
    assert all(seconds is not None and seconds > 0 for seconds in left[:-1])
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(seen))


def test_validation_scores_are_told_and_change_nothing(tiny: ImageSet, make: MakeSet, tmp_path: Path) -> None:
    seen: list[Progress] = []
    validated = condense(
        tiny,
        METHOD,
        replace(RUN, validate_every=2, validation_networks=2),
        validation=make(seed=7),
        directory=tmp_path,
        observer=seen.append,
    )
    scores = [progress.validation for progress in seen]
    assert [score is not None for score in scores] == [False] * 5 + [True]
    assert scores[-1] is not None
    assert scores[-1].n == 2
    assert scores[-1].protocol.network == "convnet-w4-d1"
    assert RunFolder(tmp_path).metrics()[-1]["validation"]["accuracy"] == scores[-1].mean
    assert torch.equal(validated.images, condense(tiny, METHOD, RUN).images)


def test_validation_needs_images(tiny: ImageSet) -> None:
    with pytest.raises(
        InputError, match="validate_every is 1, but there are no validation images: hold some out"
    ):
        condense(tiny, METHOD, RunConfig(validate_every=1))


def test_images_that_explode_stop_the_run(tiny: ImageSet, tmp_path: Path) -> None:
    wild = replace(METHOD, image_lr=1e30, distance="squared")
    with pytest.raises(
        InputError, match=r"NaN or infinite in outer draw \d+, step \d.*give a smaller --image-lr"
    ):
        condense(tiny, wild, RunConfig(iterations=50), directory=tmp_path)
    assert not (tmp_path / "condensed.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "iterations is 0, but must be 1 or more"),
        ({"seed": -1}, "seed is -1, but seeds are whole numbers from 0"),
        ({"validate_every": -1}, "validate_every is -1, but must be 0 or more"),
        ({"validation_networks": 0}, "validation_networks is 0, but must be 1 or more"),
        ({"checkpoint_every": -1.0}, "checkpoint_every is -1.0 seconds, but must be 0 or more"),
        ({"time_limit": "10"}, "time_limit is '10', but must be a number above 0 with a unit"),
        ({"time_limit": "0m"}, "time_limit is '0m', but must be a number above 0"),
    ],
)
def test_wrong_run_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig(**change)


def test_time_limits_have_units() -> None:
    limits = [RunConfig(time_limit=text).time_limit_seconds for text in ("90s", "10m", "1.5h", "1d")]
    assert limits == [90, 600, 5400, 86400]
    assert RunConfig().time_limit_seconds == float("inf")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: replace(s, labels=s.labels.clamp(max=1)), "No training image has the class 'class 2'"),
        (
            lambda s: replace(s, labels=s.labels * 0, class_names=("only",)),
            r"has 1 class \(only\), but a classifier needs at least 2",
        ),
    ],
)
def test_sets_that_teach_nothing_are_refused(
    tiny: ImageSet, spoil: Callable[[ImageSet], ImageSet], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        condense(spoil(tiny), METHOD, RUN)
