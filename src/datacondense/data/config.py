"""Settings for reading a data set."""

from dataclasses import dataclass
from pathlib import Path

from datacondense.errors import InputError
from datacondense.settings import added, check_number


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How to read a data set; a field may stay unset where the source leaves no doubt.

    Attributes:
        image_column: Column that holds the images; found by its type where unset.
        label_column: Column that holds the labels; found by its type where unset.
        config: Configuration name on the Hub, for data sets that have several.
        train_split: Split to learn from; "train" or "training" where unset, whatever its case.
        test_split: Split to test on; "test" or "testing", or else "validation", "valid", "val" or "dev", where unset.
        data_root: Local mirror of the Hub layout, `<root>/<owner>/<name>/<config>/<split>-*.parquet`, tried before
            the Hub; the environment variable DATACONDENSE_DATA where unset.
        resize: Side in pixels of the square that every image is resized to; needed where sizes differ.
        channels: 1 for grey, 3 for colour; what the images have where unset.
        cache: Decode the images once into the user's cache folder, and read them from there as they are needed: for
            more than the memory holds.
    """

    image_column: str | None = None
    label_column: str | None = None
    config: str | None = None
    train_split: str | None = None
    test_split: str | None = None
    data_root: Path | None = None
    resize: int | None = None
    channels: int | None = None
    cache: bool = added(False)

    def __post_init__(self) -> None:
        check_form(self.resize, self.channels)
        if self.image_column is not None and self.image_column == self.label_column:
            raise InputError(
                f"The column {self.image_column!r} is named for both images and labels, but they are two columns: "
                "name another one for either."
            )
        # A split is found whatever the case of its letters.
        if self.train_split is not None and self.train_split.lower() == (self.test_split or "").lower():
            raise InputError(
                f"The split {self.train_split!r} is named for both training and testing, but test images must not "
                "be trained on: name another split for either."
            )


def check_form(resize: int | None, channels: int | None) -> None:
    """Check the size and channels that images are converted to."""
    check_number("resize", resize, 1)
    if channels not in {None, 1, 3}:
        raise InputError(f"channels is {channels}, but must be 1 (grey) or 3 (colour): choose one of these.")
