"""`datacondense publish`: put a set on the Hugging Face Hub, or into a folder as it would be there."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, TypedDict

import tyro

from datacondense.cli.commands import command_line
from datacondense.cli.console import Printer
from datacondense.cli.machine import Output
from datacondense.cli.sets import described, read_set, with_pixels
from datacondense.condensation.loop import RunConfig
from datacondense.condensation.method import MethodConfig
from datacondense.condensation.presets import PUBLISHED
from datacondense.condensation.registry import METHODS
from datacondense.data.catalogue import data_options
from datacondense.errors import InputError
from datacondense.files import read_json, refuse_own_input
from datacondense.reports.publishing import publish_to_folder, push_to_hub
from datacondense.settings import plain_settings


class _Score(TypedDict):
    """What is read of a score."""

    mean: float
    std: float
    n: int
    trained_on: str
    protocol: dict[str, Any]
    tested_on: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Publish:
    """Publish a set on the Hugging Face Hub: the set itself, a table for datasets, a picture and a card.

    It is read back by its name, as in `datacondense evaluate OWNER/NAME --on mnist`. Look at what would be uploaded by
    --to FOLDER first: the card shows all that is recorded of the set, such as the path of your data.

    Attributes:
        set: A .safetensors file, a run's folder, or a folder that `export` wrote.
        repository: Owner and name on the Hub.
        to: Write the files to this folder, and upload nothing.
        score: Files with what `evaluate SET --on DATASET --json` printed, for the card.
        on: The data set whose pixels a whitened set is shown in.
        licence: Identifier of the set's licence on the Hub, such as cc-by-4.0. Default: that of the source data, as far
            as it is known.
        private: Make the repository private.
        force: Add a commit to a repository that exists.
        output: How much to print.
    """

    set: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SET")]
    repository: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OWNER/NAME")]
    to: Path | None = None
    score: tuple[Path, ...] = ()
    on: str | None = None
    licence: str | None = None
    private: bool = False
    force: bool = False
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer, images = Printer(self.output), read_set(self.set)
        scores = [
            read_json(path, _Score, "a score", "give the output of evaluate --json") for path in self.score
        ]
        settings: dict[str, Any] = {
            "scores": scores,
            "pictures": with_pixels(images, self.on),
            "licence": self.licence,
            "command": made_by(images.provenance),
        }
        if self.to is not None:
            if self.private or self.force:
                raise InputError(
                    "--private and --force are of the Hub, but --to uploads nothing: leave them out."
                )
            refuse_own_input(self.to, self.set)
            files = publish_to_folder(images, self.to, self.repository, **settings)
            printer.say(f"{described(images)}, written to {self.to} and not uploaded: {', '.join(files)}.")
            printer.record({"folder": str(self.to), "files": files})
            return 0
        page = push_to_hub(images, self.repository, private=self.private, force=self.force, **settings)
        printer.say(f"{described(images)}: {page}")
        printer.record({"page": page})
        return 0


def made_by(provenance: Mapping[str, Any]) -> str | None:
    """Return the command that makes a condensed set; None where that is not known for sure."""
    kind, data = METHODS.get(str(provenance.get("method"))), data_options(provenance)
    beyond = {"soft_labels", "unfinished"} & provenance.keys()
    if kind is None or data is None or beyond or provenance["source"].get("hold_out"):
        return None
    try:
        settings, run = (
            built(config, provenance[part]) for config, part in ((kind, "settings"), (RunConfig, "run"))
        )
    except (InputError, KeyError, TypeError, ValueError):  # of another release
        return None
    words = ["condense", data[0], "--out", "OUT", "--method", provenance["method"], "--budget", PUBLISHED]
    if settings.network == MethodConfig.network:  # unless it is given, that of the images' size is taken
        words += ["--network", settings.network]
    return command_line(words, settings, run, data[1])


def built(kind: type[Any], recorded: Mapping[str, Any]) -> Any:
    """Return settings as they were recorded, without what only a preset knows; refuse what they cannot say."""
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in recorded.items()
        if name != "preset"
    }
    settings = kind(**values)
    if plain_settings(settings) != values or any(isinstance(value, Mapping) for value in values.values()):
        raise ValueError(f"{[known.name for known in fields(kind)]} say less than {sorted(values)}")
    return settings
