"""`datacondense import`: read a condensed set in the form in which its authors published it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from datacondense.cli.commands import command_line, what_next
from datacondense.cli.console import Printer
from datacondense.cli.machine import Output
from datacondense.cli.sets import described
from datacondense.data.config import DataConfig
from datacondense.data.published import Format, read_published
from datacondense.data.sources import load
from datacondense.errors import InputError
from datacondense.files import refuse_existing, refuse_own_input
from datacondense.image_set import ImageSet

_RATE = (
    "The learning rate that was learned with the images is in none of the files: give --learning-rate, or they are "
    "trained on with that of every other set."
)
_TARGETS = "The labels are targets of a regression; of each, the class of the largest is kept."
_TEACHER = "Published scores train on a teacher's labels, which the folder does not hold: see soft_labelled in Python."
_NOTES = {
    "mtt": _RATE,
    "tesla": _RATE,
    "kip": _TARGETS,
    "frepo": _TARGETS,
    "rded": _TEACHER,
    "sre2l": _TEACHER,
}


@dataclass(frozen=True, kw_only=True)
class Import:
    """Read a condensed set that others published, and write it as a set that every command takes.

    Known are the files of DC, DSA, DM, IDM, DataDAM, MTT, TESLA, DATM, IDC, DREAM, NCFM, KIP, FRePo, and the folders of
    RDED and SRe2L. No code in a file is run. See docs/published-sets.md.

    Attributes:
        files: The file, or all that belong to one set (images, labels, learning rate), or the folder that holds them.
        on: The real data set that it stands for; names and paths as in `condense`.
        out: The .safetensors file to write. Default: the name of the first file, in the current folder.
        format: Whose file it is. Default: what its name and contents say.
        run: Which of several sets in a file, from 0.
        all_runs: Write every set of the file, each with its number in the name.
        factor: Tiles a side of each image, for files that do not say (IDC, DREAM, NCFM).
        zca: Images are ZCA-whitened; for files that do not say.
        no_zca: Images are not ZCA-whitened.
        learning_rate: The rate that was learned with the images, for files that do not hold it (MTT, TESLA).
        force: Replace OUT where it exists.
        data: How the data set is read.
        output: How much to print.
    """

    files: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE")]
    on: str
    out: Path | None = None
    format: Format = "auto"
    run: int = 0
    all_runs: bool = False
    factor: int | None = None
    zca: bool = False
    no_zca: bool = False
    learning_rate: float | None = None
    force: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        if self.zca and self.no_zca:
            raise InputError("--zca and --no-zca contradict each other: give one.")
        printer, real = Printer(self.output), load(self.on, self.data)
        first = images = self._read(real.train, self.run)
        out = self.out or Path(f"{self.files[0].resolve().stem}.safetensors")
        refuse_existing(out, force=self.force or self.all_runs)  # nor may it be a folder
        runs = range(first.provenance["imported"].get("runs", 1)) if self.all_runs else [self.run]
        for run in runs:
            path = out.with_stem(f"{out.stem}-run{run}") if self.all_runs else out
            refuse_own_input(path, *self.files)
            refuse_existing(path, force=self.force)
            images = first if run == self.run else self._read(real.train, run)
            images.save(path)
            printer.say(f"{path}: {described(images)}")
        self._report(images, path, printer, scorable=real.has_test)
        return 0

    def _read(self, train: ImageSet, run: int) -> ImageSet:
        return read_published(
            *self.files,
            on=train,
            format=self.format,
            run=run,
            factor=self.factor,
            zca=True if self.zca else False if self.no_zca else None,
            learning_rate=self.learning_rate,
        )

    def _report(self, images: ImageSet, path: Path, printer: Printer, *, scorable: bool) -> None:
        """Print what was read, and what to do with it."""
        provenance = images.provenance
        facts, rate = provenance["imported"], provenance.get("learned", {}).get("inner_lr")
        kind = "whitened" if images.whitening else f"{facts['scale']}, mean {images.mean}, std {images.std}"
        printer.say(
            f"Read as {facts['format']}: {kind}; labels {'hard' if images.soft_labels is None else 'soft'}."
        )
        for network, known in facts.get("accuracies", {}).items():
            printer.say(
                f"The file says: {network} {known['mean']:.2%} ± {known['std']:.2%} (n = {known['n']})"
            )
        if facts["format"] in _NOTES and rate is None:
            printer.note(_NOTES[facts["format"]])
        score = command_line(["evaluate", str(path), "--on", self.on], self.data)
        if scorable:
            printer.say(f"Score it:   {score}")
        printer.say(what_next(path, path.with_suffix(".png"), None, self.data))
        printer.record({"set": str(path), "score": score, **facts})
