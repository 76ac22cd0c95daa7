"""Streams: groups of classes, data sets in one form and scale, and what cannot be a stream."""

from pathlib import Path

import numpy as np
import pytest

from datacondense.applications.stream import class_stream, domain_stream
from datacondense.data.config import DataConfig
from datacondense.data.sources import load
from datacondense.errors import InputError
from tests.data.made_files import pictures

CONFIG = DataConfig()


def written(path: Path, *, size: int, colour: bool, classes: int = 2) -> str:
    """Write a data set of 24 training and 12 test images; return its name."""
    images = np.stack(pictures(36, colour=colour, size=size))
    labels = np.arange(36) % classes
    np.savez(path, x_train=images[:24], y_train=labels[:24], x_test=images[24:], y_test=labels[24:])
    return str(path)


def test_classes_are_cut_into_groups_with_their_images() -> None:
    stream = class_stream("digits", CONFIG, 3, None)
    assert stream.names == ("0, 1, 2, 3", "4, 5, 6", "7, 8, 9")  # the remainder goes to the first
    every, second = load("digits"), stream.stages[1].read()
    for found, whole in ((second.train, every.train), (second.test, every.test)):
        assert found is not None
        assert whole is not None
        of_group = (whole.labels >= 4) & (whole.labels <= 6)
        assert (found.images == whole.images[of_group]).all()
        assert (found.labels == whole.labels[of_group] - 4).all()
    assert second.train.class_names == ("4", "5", "6")
    assert (second.train.mean, second.train.std) == (every.train.mean, every.train.std)


def test_the_order_of_classes_follows_the_seed() -> None:
    groups = [class_stream("digits", CONFIG, 5, seed).names for seed in (0, 1, 0)]
    assert groups[0] == groups[2] != groups[1]
    for names in groups:
        assert sorted(", ".join(names).split(", ")) == list("0123456789")


@pytest.mark.parametrize("number", [0, 1, 6, 11])
def test_a_stage_has_two_classes_or_more(number: int) -> None:
    with pytest.raises(InputError, match=rf"stages is {number}, but digits has 10 classes .* give 2 to 5"):
        class_stream("digits", CONFIG, number, 0)


def test_stages_have_one_form_and_the_scale_of_the_first(tmp_path: Path) -> None:
    first = written(tmp_path / "grey.npz", size=6, colour=False)
    second = written(tmp_path / "colour.npz", size=9, colour=True)
    stages = [stage.read() for stage in domain_stream([first, second], CONFIG).stages]
    assert {splits.train.image_shape for splits in stages} == {(3, 9, 9)}
    assert len({(splits.train.mean, splits.train.std) for splits in stages}) == 1
    alone = load(first, DataConfig(resize=9, channels=3)).train
    assert stages[1].train.mean == stages[0].train.mean == alone.mean
    assert stages[1].test is not None
    assert stages[1].test.mean == alone.mean


def test_the_users_form_holds_for_all(tmp_path: Path) -> None:
    names = [written(tmp_path / f"{size}.npz", size=size, colour=True) for size in (6, 9)]
    stream = domain_stream(names, DataConfig(resize=5, channels=1))
    assert {stage.read().train.image_shape for stage in stream.stages} == {(1, 5, 5)}


def test_stages_with_other_classes_are_refused(tmp_path: Path) -> None:
    names = [written(tmp_path / f"{n}.npz", size=6, colour=True, classes=n) for n in (2, 3)]
    with pytest.raises(
        InputError, match=r"2\.npz has 2 classes .*3\.npz has 3 classes .* have the same classes"
    ):
        domain_stream(names, CONFIG)


@pytest.mark.parametrize("names", [["digits"], ["digits", "digits"], []])
def test_a_stream_has_two_different_data_sets(names: list[str]) -> None:
    with pytest.raises(InputError, match="give two data sets or more, each once, or --stages"):
        domain_stream(names, CONFIG)
