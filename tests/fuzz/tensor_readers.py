"""Readers of image sets, checkpoints and run folders."""

import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import torch

from datacondense.cli.evaluate import Evaluate
from datacondense.cli.export import Export
from datacondense.cli.info import Info
from datacondense.cli.show import Show
from datacondense.condensation.loop import RunConfig, condense
from datacondense.data.exports import export, load_export
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.image_set import ImageSet
from datacondense.run_folder import RunFolder
from tests.fuzz.array_readers import write_data
from tests.fuzz.oracle import Sandbox, checking
from tests.fuzz.reader import (
    CHECKSUM,
    METHOD,
    RUN,
    TRAIN,
    Attempt,
    Call,
    Reader,
    changed_tensors,
    put_together,
    saved_sets,
    taken_apart,
    unfinished_run,
)
from tests.fuzz.strange import NUMBERS, changed_bytes, changed_json, to_json

GIVEN = Path("given.safetensors")
FORMATS = ("image-folder", "parquet", "npz")


def _image_sets(home: Path) -> Attempt:
    seeds = saved_sets(home)

    def attempt(rng: Random, _: Sandbox) -> Call:
        GIVEN.write_bytes(changed_tensors(rng, seeds))
        door = rng.random()
        if door < 0.005:
            return Show(set=GIVEN, out=Path("picture.png"))
        if door < 0.02:
            return Export(set=GIVEN, out=Path("exported"), format=rng.choice(FORMATS))  # type: ignore[arg-type]
        return Info(path=GIVEN) if door < 0.3 else _load

    return attempt


def _load() -> None:
    """Load the set and use it."""
    images = ImageSet.load(GIVEN)
    with checking("finite"):
        mean, std = torch.tensor([images.mean, images.std], dtype=torch.float32)
        assert bool(((mean / std).isfinite() & (std > 0)).all()), "the normalisation is not finite"
    repr(images)


def _pixels(home: Path) -> Attempt:
    """Make the reader that must notice every changed bit of the numbers."""
    seeds = saved_sets(home)

    def attempt(rng: Random, _: Sandbox) -> Call:
        header, body = taken_apart(rng.choice(seeds))
        changed = bytearray(body)
        changed[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        GIVEN.write_bytes(put_together(header, bytes(changed)))
        return _must_refuse

    return attempt


def _must_refuse() -> None:
    images = ImageSet.load(GIVEN)
    with checking("noticed"):
        raise AssertionError(f"a changed bit of the pixels or labels was loaded: {images.fingerprint}")


def _evaluated(home: Path) -> Attempt:
    """Make the reader that scores a changed set; no module that it names may be imported."""
    seeds = saved_sets(home)[:2]
    test = write_data(home / "test.npz")

    def attempt(rng: Random, _: Sandbox) -> Call:
        header, body = taken_apart(rng.choice(seeds))
        lr = 0.01
        if rng.random() < 0.3:
            record = to_json({
                "method": "gradient-matching",
                "settings": {"network": rng.choice(("evil:net", "evil:f.g"))},
            })
            header["__metadata__"]["record"] = record
            header["__metadata__"].pop(CHECKSUM, None)
            GIVEN.write_bytes(put_together(header, body))
        elif rng.random() < 0.3:
            lr = float(rng.choice([n for n in NUMBERS if n > 0]))
            GIVEN.write_bytes(put_together(header, body))
        else:
            GIVEN.write_bytes(changed_tensors(rng, seeds))
        return partial(_evaluate, test, lr)

    return attempt


def _evaluate(test: Path, lr: float) -> None:
    config = EvaluationConfig(repeats=1, epochs=2, lr=lr, augmentation="none", engine="eager")
    Evaluate(set=GIVEN, on=str(test), config=config)()
    with checking("finite"):
        assert lr < 1e30, f"an accuracy was reported after training with the learning rate {lr}"
        assert bool(ImageSet.load(GIVEN).normalised().isfinite().all()), (
            "images that are not finite were scored"
        )


def _run_folders(home: Path) -> Attempt:
    """Make the reader of the files of a run that say how far it is."""
    files = unfinished_run(home / "unfinished")
    result = saved_sets(home)[0]

    def attempt(rng: Random, sandbox: Sandbox) -> Call:
        folder = Path("run")
        folder.mkdir()
        for name, data in {
            **files,
            **({"condensed.safetensors": result} if rng.random() < 0.5 else {}),
        }.items():
            (folder / name).write_bytes(data)
        path = folder / rng.choice((
            "settings.json",
            "settings.json",
            "metrics.jsonl",
            "metrics.jsonl",
            "checkpoint.safetensors",
        ))
        _change_file(rng, path, sandbox)
        if path.name == "checkpoint.safetensors":
            return RunFolder(folder).checkpoint
        return Info(path=folder)

    return attempt


def _change_file(rng: Random, path: Path, sandbox: Sandbox) -> None:
    """Change a file by what it is, or put something else in its place."""
    what = rng.random()
    if what < 0.04:
        path.unlink()
        rng.choice((
            path.mkdir,
            partial(path.symlink_to, sandbox.root / "private.txt"),
            partial(os.mkfifo, path),
        ))()
    elif path.suffix == ".safetensors":
        path.write_bytes(changed_tensors(rng, [path.read_bytes()]))
    elif what < 0.4:
        path.write_bytes(changed_bytes(rng, path.read_bytes()))
    else:
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        number = rng.randrange(len(lines))
        lines[number] = to_json(changed_json(rng, json.loads(lines[number])))
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogatepass")


def _resumed(home: Path) -> Attempt:
    """Make the reader that resumes a run: refused, or the bytes of the unbroken run."""
    files = unfinished_run(home / "unfinished")
    unbroken = condense(TRAIN, METHOD, RUN).fingerprint
    other_runs = [
        unfinished_run(home / "seed", run=replace(RUN, seed=1)),
        unfinished_run(home / "rate", method=replace(METHOD, image_lr=3.0)),
        unfinished_run(home / "batch", method=replace(METHOD, real_batch=4)),
        unfinished_run(home / "momentum", method=replace(METHOD, image_momentum=0.1)),
    ]

    def attempt(rng: Random, sandbox: Sandbox) -> Call:
        folder = Path("run")
        folder.mkdir()
        present, resume = dict(files), True
        what = rng.random()
        if what < 0.3:
            present["checkpoint.safetensors"] = rng.choice(other_runs)["checkpoint.safetensors"]
        elif what < 0.4:
            present = {"checkpoint.safetensors": rng.choice(other_runs)["checkpoint.safetensors"]}
            resume = rng.random() < 0.3
        for name, data in present.items():
            (folder / name).write_bytes(data)
        path = folder / rng.choice(list(files))
        if what >= 0.4 and path.suffix == ".safetensors" and rng.random() < 0.9:
            path.write_bytes(
                changed_bytes(rng, path.read_bytes())
            )  # damage, not malice, which a checksum cannot tell
        elif what >= 0.4 and path.suffix != ".safetensors":
            _change_file(rng, path, sandbox)
        return partial(_resume, folder, resume, unbroken)

    return attempt


def _resume(folder: Path, resume: bool, unbroken: str) -> None:
    result = condense(TRAIN, METHOD, RUN, directory=folder, resume=resume)
    with checking("same result"):
        assert result.fingerprint == unbroken, "another result than the unbroken run's, without a word"


def _exports(home: Path) -> Attempt:
    """Make the reader of exports."""
    images = condense(TRAIN, METHOD, RunConfig(iterations=1))
    for form in FORMATS:
        export(images, home / form, format=form)  # type: ignore[arg-type]

    def attempt(rng: Random, _: Sandbox) -> Call:
        folder = Path(shutil.copytree(home / rng.choice(FORMATS), "exported"))
        path = (
            rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
            if rng.random() < 0.95
            else folder
        )
        if path.suffix == ".safetensors" and rng.random() < 0.7:
            path.write_bytes(changed_tensors(rng, [path.read_bytes()]))
        elif path.is_file():
            path.write_bytes(changed_bytes(rng, path.read_bytes()))
        return partial(load_export, folder)

    return attempt


READERS = (
    Reader("image-set", 258, _image_sets),
    Reader("pixels", 80, _pixels),
    Reader("run-folder", 230, _run_folders),
    Reader("resume", 3, _resumed),
    Reader("evaluate", 3, _evaluated),
    Reader("export", 35, _exports),
)
