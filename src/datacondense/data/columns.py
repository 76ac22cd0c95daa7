"""A table of the Hugging Face `datasets` library to pixels and labels: which column is which, and decoding."""

from pathlib import Path
from typing import Any

from datacondense.data.config import DataConfig
from datacondense.data.decode import decode_images
from datacondense.data.splits import ReadSplit
from datacondense.errors import InputError

_LABEL_NAMES = ("label", "labels", "target", "class")


def read_table(table: Any, split: str, config: DataConfig) -> ReadSplit:
    """Decode the images of a table and find its labels."""
    image_column = _image_column(table.features, config.image_column)
    label_column = _label_column(table.features, config.label_column, image_column)
    names = getattr(table.features[label_column], "names", None)
    encoded = _encoded(table.select_columns([image_column, label_column]), image_column)[:]
    sources = [_source(entry) for entry in encoded[image_column]]
    return ReadSplit(
        images=decode_images(
            sources,
            [f"Row {row} of the split {split!r}" for row in range(len(sources))],
            resize=config.resize,
            channels=config.channels,
        ),
        labels=encoded[label_column],
        class_names=tuple(names) if names else None,
        split=split,
    )


def _encoded(table: Any, image_column: str) -> Any:
    """Return a table that does not decode its images, one at a time, as rows are read."""
    import datasets  # noqa: PLC0415

    try:
        return table.cast_column(image_column, datasets.Image(decode=False)).with_format(None)
    except (TypeError, ValueError, NotImplementedError) as error:  # pyarrow's errors are of these kinds
        raise InputError(
            f"The column {image_column!r} ({table.features[image_column]}) holds no encoded images: name another one "
            "with --image-column."
        ) from error


def _source(entry: Any) -> Any:
    """Return the encoded bytes of an entry, or its path where it has no bytes."""
    if entry is None or entry["bytes"] is not None:
        return entry and entry["bytes"]
    return Path(entry["path"])


def _image_column(features: Any, given: str | None) -> str:
    """Return the column of the images, found by its type where the user names none."""
    import datasets  # noqa: PLC0415

    if given is not None:
        return _present(features, given, "image")
    typed: list[str] = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    columns = typed or [name for name, feature in features.items() if _holds_bytes(feature)]
    if len(columns) != 1:
        raise InputError(
            f"The data set has {len(columns)} columns of images (columns: {', '.join(features)}), but exactly one is "
            "needed: name it with --image-column."
        )
    return columns[0]


def _holds_bytes(feature: Any) -> bool:
    """Whether a column holds encoded files without their type: a struct with bytes, or plain bytes."""
    return (isinstance(feature, dict) and "bytes" in feature) or getattr(feature, "dtype", None) == "binary"


def _label_column(features: Any, given: str | None, image_column: str) -> str:
    """Return the column of the labels, found by its type, else by its name, else as the only other column."""
    import datasets  # noqa: PLC0415

    if given is not None:
        return _present(features, given, "label")
    typed: list[str] = [
        name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)
    ]
    if len(typed) == 1:
        return typed[0]
    others = [name for name in features if name != image_column]
    named = [name for name in _LABEL_NAMES if name in others]
    if named or len(others) == 1:
        return (named or others)[0]
    raise InputError(
        f"The column of the labels is ambiguous (columns: {', '.join(features)}): name it with --label-column."
    )


def _present(features: Any, column: str, kind: str) -> str:
    """Check that a column exists."""
    if column not in features:
        raise InputError(
            f"There is no column {column!r} (columns: {', '.join(features)}): name one of these with --{kind}-column."
        )
    return column
