"""Publishing a set: a folder with the set, a table that `datasets` reads, a picture and a card; and on the Hub."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datacondense.data.export_tables import write_parquet
from datacondense.data.exports import check_names, rounded
from datacondense.data.hub import CARD, CONDENSED
from datacondense.data.hub_upload import check_repository, upload
from datacondense.data.whitening import stretched
from datacondense.files import replacing_folder
from datacondense.image_set import ImageSet
from datacondense.reports.dataset_card import PICTURE, dataset_card
from datacondense.reports.grid import plot_grid


def publish_to_folder(
    images: ImageSet,
    folder: Path | str,
    hub_id: str,
    *,
    scores: Sequence[Mapping[str, Any]] = (),
    pictures: ImageSet | None = None,
    licence: str | None = None,
    command: str | None = None,
) -> tuple[str, ...]:
    """Write all files that `push_to_hub` uploads; `load(folder)` gives the set back, exactly.

    Args:
        images: The set, condensed, selected or imported.
        folder: The folder to write, a new one; it appears complete or not at all.
        hub_id: The name that the card gives the set, OWNER/NAME.
        scores: Its scores, as `Score.as_dict()` gives them; others are refused.
        pictures: The set in pixel scale, to look at, where it is whitened; see `unwhitened`. Default: its numbers,
            from the least to the greatest.
        licence: Identifier of its licence on the Hub, such as "cc-by-4.0". Default: that of the source data, "unknown"
            where that is not known.
        command: What makes the set, for the card.

    Returns:
        The files, relative to the folder: `condensed.safetensors`, `data/train-….parquet` with the images that networks
        see (8 bits, and exact), `images.png`, `README.md`, and `scores.json` where there are scores.

    Raises:
        InputError: A score is that of another set, a class name repeats, the name is no Hub id, or the folder is not
            empty or cannot be written.
    """
    check_repository(hub_id)
    check_names(images)
    card = dataset_card(images, hub_id, scores=scores, licence=licence, command=command)
    shown = stretched(images if pictures is None else pictures).decoded()
    with replacing_folder(Path(folder)) as temporary:
        images.save(temporary / CONDENSED)
        (temporary / "data").mkdir()
        arrays = rounded(shown).permute(0, 2, 3, 1).cpu().numpy()
        write_parquet(images.decoded(), arrays, temporary / "data", exact=True)
        plot_grid(shown, temporary / PICTURE)
        (temporary / CARD).write_text(card, encoding="utf-8")
        if scores:
            text = json.dumps(list(map(dict, scores)), indent=1, sort_keys=True)
            (temporary / "scores.json").write_text(f"{text}\n", encoding="utf-8")
        files = (file for file in temporary.rglob("*") if file.is_file())
        return tuple(sorted(file.relative_to(temporary).as_posix() for file in files))


def push_to_hub(
    images: ImageSet,
    hub_id: str,
    *,
    scores: Sequence[Mapping[str, Any]] = (),
    pictures: ImageSet | None = None,
    licence: str | None = None,
    command: str | None = None,
    private: bool = False,
    force: bool = False,
    token: str | None = None,
) -> str:
    """Publish a set on the Hugging Face Hub; `load(hub_id)` gives it back, exactly.

    Args:
        images: The set, condensed, selected or imported.
        hub_id: Owner and name of the data set, which is made.
        scores: As in `publish_to_folder`, which writes what is uploaded.
        pictures: As there.
        licence: As there.
        command: As there.
        private: Whether the data set is private, where it is made.
        force: Add a commit to a data set that exists.
        token: A token that may write. Default: HF_TOKEN, or that of `hf auth login`.

    Returns:
        The address of its page.

    Raises:
        InputError: As in `publish_to_folder`; there is no token, or the Hub refuses or cannot be reached.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "set")
        publish_to_folder(
            images, folder, hub_id, scores=scores, pictures=pictures, licence=licence, command=command
        )
        return upload(folder, hub_id, private=private, force=force, token=token)
