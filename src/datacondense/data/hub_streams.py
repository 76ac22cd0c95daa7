"""Data sets of the Hub that fill the cache of images row by row, without being downloaded first.

What is known of one lies in the cache folder, so that its images are found again where the Hub cannot be reached:

    images/streams/<digest>.json   revision, types of the columns of each split, and whether rows hold their images
"""

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from typing import Any, TypedDict

from datacondense.cache import cache_folder
from datacondense.data.columns import find_columns
from datacondense.data.config import DataConfig
from datacondense.data.hub import REACH_SECONDS, loaded, quiet
from datacondense.data.list_pixels import list_depth
from datacondense.data.splits import ReadSplit, Splits, read_splits
from datacondense.data.streams import encoded_rows, read_stream
from datacondense.files import read_json, write_text


class _Stream(TypedDict):
    """What is known of a data set."""

    revision: str
    splits: dict[str, dict[str, Any]]
    holds_images: bool


def read_streamed(
    hub_id: str,
    config: DataConfig,
    *,
    data_files: Mapping[str, str] | None = None,
    revision: str | None = None,
) -> Splits | None:
    """Read a data set of the Hub row by row; None where its rows do not hold its images, or nothing is known of it."""
    from datasets import Features  # noqa: PLC0415

    place = json.dumps([hub_id, config.config, data_files, config.image_column, config.label_column])
    path = cache_folder() / "images" / "streams" / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
    open_at = partial(loaded, hub_id, config.config, data_files, streaming=True)
    newest = _revision(hub_id, revision)
    found: _Stream | None = None
    if path.exists():
        found = read_json(
            path, _Stream, "what is known of a data set of the Hub", "remove it, and it is read again"
        )
    if newest is not None and (found is None or found["revision"] != newest):
        found = _described(open_at(revision=newest), newest, config)
        write_text(path, json.dumps(found))
    if found is None or not found["holds_images"]:
        return None
    known = found

    def read(split: str) -> ReadSplit:
        stream = partial(open_at, revision=known["revision"], split=split)
        features = Features.from_dict(known["splits"][split])
        with quiet():
            return read_stream(stream, features, split, config, [hub_id, config.config, known["revision"]])

    return read_splits(list(known["splits"]), read, config, hub_id)


def _described(streams: Mapping[str, Any], revision: str, config: DataConfig) -> _Stream:
    """Return what is to be known of a data set, by the first row of each split."""
    found: _Stream = {"revision": revision, "splits": {}, "holds_images": True}
    for split, stream in streams.items():
        features = stream.features or stream._resolve_features().features
        column, _ = find_columns(features, config)
        # Lists of numbers would be encoded as images, in another type.
        is_list = list_depth(features.arrow_schema.field(column).type) > 0
        row: dict[str, Any] = {} if is_list else next(iter(encoded_rows(stream, column)), {})
        found["splits"][split] = features.to_dict()
        found["holds_images"] &= bool((row.get(column) or {}).get("bytes"))
    return found


def _revision(hub_id: str, revision: str | None) -> str | None:
    """Return the newest commit of a branch; None where the Hub does not say."""
    import datasets  # noqa: PLC0415
    from huggingface_hub import HfApi  # noqa: PLC0415

    if datasets.config.HF_HUB_OFFLINE:
        return None
    try:
        sha: str | None = HfApi().dataset_info(hub_id, revision=revision, timeout=REACH_SECONDS).sha
    except Exception:  # of a dozen kinds; downloading says what is wrong
        return None
    return sha
