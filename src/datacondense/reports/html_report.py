"""One HTML page of runs, sets and studies that holds all that it shows: pictures, curves, tables and commands.

Text from files is escaped by the template and by the reader of Markdown, and the page forbids itself scripts and
connections by its Content-Security-Policy.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from datacondense import __version__
from datacondense.condensation.results import unfinished
from datacondense.data.exports import is_export, load_export
from datacondense.data.splits import DataSplits
from datacondense.data.whitening import stretched, unwhitened
from datacondense.errors import InputError, escaped
from datacondense.files import refuse_existing, write_text
from datacondense.image_set import ImageSet
from datacondense.reports.described import describe_run, describe_set
from datacondense.reports.html_pages import page_html, pages_in
from datacondense.reports.html_pictures import Picture, curves, neighbours_picture, set_picture
from datacondense.reports.layout import NOTHING
from datacondense.reports.privacy import measure_privacy
from datacondense.reports.real_images import first_images, real_images
from datacondense.run_folder import RunFolder
from datacondense.settings import joined_keys

_MOST_BYTES = 3_000_000
_FOR_PICTURES, _PICTURES_EACH, _MOST_OF_ONE = 2_000_000, 4, 450_000
_PRIVACY = (
    "For each synthetic image the nearest training images are searched. A distance is the root mean square over all "
    "pixels, in pixel scale: 0 for the same image, 1 from black to white. Beside it stand distances of training images "
    "to their nearest other one. This is no proof of privacy: images may reveal what no distance shows, and a stronger "
    "attack may find more."
)
_NO_ATTACK = "There is no membership-inference score: the data set has no test images."

Source: TypeAlias = ImageSet | RunFolder | Path
MadeBy: TypeAlias = Callable[[Mapping[str, Any]], str | None]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the page; what is empty is not shown.

    Attributes:
        title: Its heading.
        texts: Paragraphs.
        facts: A table of names and values.
        header: The names of the columns of another table.
        rows: Its rows.
        pictures: Pictures below.
        commands: Commands, a block each.
        page: A page as `Markup`, that is HTML already.
    """

    title: str = ""
    texts: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    pictures: tuple[Picture, ...] = ()
    commands: tuple[str, ...] = ()
    page: str = ""


class Subject(NamedTuple):
    """A run, a set or a page."""

    title: str
    parts: list[Part]


class _Options(NamedTuple):
    on: str | None
    privacy: bool
    made_by: MadeBy | None
    most: int


def write_report(
    out: Path | str,
    *what: Path | str | ImageSet,
    on: str | None = None,
    privacy: bool = True,
    made_by: MadeBy | None = None,
    force: bool = False,
) -> Path:
    """Write one HTML page that holds all that it shows, below 3 MB.

    Args:
        out: The page to write, .html.
        what: Runs' folders, finished or not; sets, as files, exports or themselves; folders of studies, comparisons,
            searches or continual learning, or their pages (.md).
        on: The data set that sets were learned from, for the first images of a run and for privacy. Default: the one
            that is recorded, where it is known by name (see `load`); what a file calls a path is not read.
        privacy: Whether to compare synthetic images with the training images, see `measure_privacy`.
        made_by: Returns the command that makes a set from its provenance; None where that is not known.
        force: Replace a page that exists.

    Returns:
        The page's path.

    Raises:
        InputError: Something cannot be read, there is nothing to report on, the page exists already, cannot be written
            or would be too large.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 — only where a page is written

    out = Path(out)
    if out.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"{out} is no name of a page: give one that ends in .html.")
    refuse_existing(out, force=force)
    sources = [source for given in what for source in _sources(given)]
    if not sources:
        raise InputError("There is nothing to report on: give the folders of runs or studies, or sets.")
    most = min(_MOST_OF_ONE, _FOR_PICTURES // (_PICTURES_EACH * len(sources)))
    options = _Options(on, privacy, made_by, most)
    subjects = [_subject(*source, options) for source in sources]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    title = subjects[0].title if len(subjects) == 1 else f"Report on {len(subjects)} results"
    page = environment.get_template("html_report.html")
    data = page.render(title=title, subjects=subjects, version=__version__).encode("utf-8", "replace")
    if len(data) > _MOST_BYTES:
        raise InputError(
            f"The page would have {len(data) / 1e6:.1f} MB, but can have {_MOST_BYTES / 1e6:g} at most: report on "
            "fewer results at once."
        )
    write_text(out, data.decode())
    return out


def _sources(given: Path | str | ImageSet) -> list[tuple[str, Source]]:
    """Return what a path holds, by its name."""
    if isinstance(given, ImageSet):
        return [(repr(given), given)]
    path = Path(given)
    name, folder = escaped(path.resolve().name), RunFolder(path)
    # Functions of os.path raise nothing where one may not look, or no file can have the name.
    if os.path.isdir(path):
        if folder.has_settings:
            return [(name, folder)]
        if is_export(path):
            return [(name, load_export(path)[0])]
        pages = pages_in(path)
        if not pages and not os.path.exists(folder.result):
            raise InputError(
                f"{path} holds no run, no set and no page of a study: give a folder that a command wrote."
            )
        return [(page.name, page) for page in pages] or [(name, ImageSet.load(folder.result))]
    return [(name, path if path.suffix == ".md" else ImageSet.load(path))]


def _subject(name: str, source: Source, options: _Options) -> Subject:
    """Return all parts of a run, a set or a page."""
    if isinstance(source, Path):
        title, page = page_html(source, options.most)
        return Subject(title, [Part(page=page)])
    if isinstance(source, ImageSet):
        return Subject(name, list(_set_parts(source, options, "The images")))
    return Subject(name, list(_run_parts(source, options)))


def _run_parts(folder: RunFolder, options: _Options) -> Iterator[Part]:
    """Yield the parts of a run: how far it is, its log, and those of its images."""
    status = {name: value for name, value in describe_run(folder).items() if not isinstance(value, Mapping)}
    yield Part(title="The run", facts=_facts(status))
    metrics = folder.metrics()
    if metrics:
        text = "No accuracies were measured on the way; condense --validate-every does."
        for found in (entry["validation"] for entry in metrics[::-1] if "validation" in entry):
            numbers = f"{100 * found['accuracy']:.2f} ± {100 * found['std']:.2f} % (n = {found['n']})"
            text = f"The last accuracy on held-out images is {numbers}."
            break
        yield Part(title="Progress", texts=(text,), pictures=(curves(metrics, options.most),))
    is_finished = folder.result.exists()
    try:
        images = ImageSet.load(folder.result) if is_finished else unfinished(folder)
    except InputError as error:
        if is_finished:
            raise
        yield Part(texts=(escaped(str(error)),))
        yield from _origin(folder.settings(), options)
        return
    caption = "The result"
    if not is_finished:
        at = images.provenance["unfinished"]
        caption = f"The images at the checkpoint, in iteration {at['iteration'] + 1}, step {at['step'] + 1}"
    yield from _set_parts(images, options, caption, is_run=True)


def _set_parts(images: ImageSet, options: _Options, caption: str, *, is_run: bool = False) -> Iterator[Part]:
    """Yield the parts of a set: pictures, facts, privacy, origin."""
    real, lacking = None, ""
    if is_run or options.privacy:
        try:
            real = real_images(images, options.on)
        except InputError as error:
            lacking = escaped(str(error))
    pictures, notes = [], [""]
    if is_run:
        try:
            first = first_images(images.provenance, real.train) if real else None
        except InputError as error:
            first, notes = None, [escaped(str(error))]
        notes = notes if real else [f"The first images are not shown: {lacking}"]
        if first is not None:
            pictures.append(set_picture(stretched(first), "The first images, before any step.", options.most))
    if images.whitening is not None:
        notes.append("The set is whitened, and shown from its least number to its greatest.")
    pictures.append(set_picture(stretched(images), f"{caption}.", options.most))
    yield Part(title="Images", texts=tuple(notes), pictures=tuple(pictures))
    facts = describe_set(images)
    provenance = facts.pop("provenance")
    yield Part(title="The set", facts=_facts(facts))
    if options.privacy:
        try:
            measured = _privacy_part(images, real, options) if real else None
        except InputError as error:  # a whitening that cannot be undone
            measured, lacking = None, escaped(str(error))
        yield measured or Part(title="Privacy", texts=(f"Privacy was not measured: {lacking}",))
    yield from _origin(provenance, options)


def _privacy_part(images: ImageSet, real: DataSplits, options: _Options) -> Part:
    """Compare a set's images with the real ones."""
    shown = unwhitened(images, real.train).decoded()
    test = None if real.test is None else real.test.images
    found = measure_privacy(shown.pixels(), real.train.images, test)
    shares = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95}
    columns = found.quantiles(*shares.values())
    rows = [
        (name, *(f"{column[place]:.4f}" for column in columns))
        for place, name in enumerate(("synthetic to training", "training to training"))
    ]
    near = int((found.nearest.distances[:, 0] < columns[1][1]).sum())
    total = f"{len(found.synthetic)}" + f" (of {len(shown)})" * (len(found.synthetic) < len(shown))
    attack = _NO_ATTACK
    if found.attack is not None:
        auc, low, high, n, others = found.attack
        attack = (
            "Membership inference by the distance to the nearest synthetic image (the full black-box attack of Chen et "
            f"al. 2020, GAN-Leaks): area under the ROC curve {auc:.3f} (95 % interval {low:.3f} to {high:.3f}), from "
            f"{n} training and {others} test images. 0.5 is guessing; 1 tells all training images from the others."
        )
    texts = (
        _PRIVACY,
        f"{near} of {total} synthetic images are nearer to a training image than all but 5 % of "
        f"{len(found.among_real)} training images are to their nearest other one.",
        attack,
    )
    picture = neighbours_picture(shown, real.train, found, options.most)
    return Part(
        title="Privacy", texts=texts, header=("distance", *shares), rows=tuple(rows), pictures=(picture,)
    )


def _origin(provenance: Mapping[str, Any], options: _Options) -> Iterator[Part]:
    """Yield what is recorded of a set's origin: the commands to repeat, provenance, machine."""
    known = {name: value for name, value in provenance.items() if name != "unfinished"}
    environment = known.pop("environment", {})
    if options.made_by is not None:
        command = options.made_by({**known, "environment": environment})
        texts = () if command else ("No command is known for sure to make this set; its settings are below.",)
        commands = (command,) if command else ()
        yield Part(title="Repeat it", texts=texts, commands=commands)
    yield Part(title="Provenance", facts=_facts(joined_keys(known)))
    if isinstance(environment, Mapping):
        yield Part(title="Machine", facts=_facts(joined_keys(environment)))


def _facts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return plain values as texts."""

    def text(value: Any) -> str:
        if isinstance(value, list | tuple):
            return ", ".join(map(text, value))
        if isinstance(value, float):
            return f"{value:.6g}"
        return NOTHING if value is None else str(value)

    return {str(name): text(value) for name, value in values.items()}
