import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datacondense.data.config import DataConfig
from datacondense.data.sources import load
from datacondense.errors import InputError
from tests.conftest import forbid
from tests.data.made_files import pictures, write_folder, write_parquet

GREY = pictures(12, colour=False)
COLOUR = pictures(12, colour=True)
LABELS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9]


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Build a mirror of the Hub with SVHN, CIFAR-10 and MNIST as they are there, a few images each."""
    monkeypatch.delenv("DATACONDENSE_DATA", raising=False)
    root = tmp_path / "mirror"
    for split in ("train", "test"):
        shard = f"{split}-00000-of-00001.parquet"
        write_parquet(root / "ufldl-stanford/svhn/cropped_digits" / shard, COLOUR, LABELS)
        write_parquet(root / "uoft-cs/cifar10/plain_text" / shard, COLOUR, LABELS, image_column="img")
        write_parquet(root / "ylecun/mnist/mnist" / shard, GREY, LABELS)
    return root


def test_known_name_is_found_on_the_mirror(mirror: Path) -> None:
    data = load("svhn", DataConfig(data_root=mirror))

    assert data.test is not None
    np.testing.assert_array_equal(data.train.images.numpy(), np.stack(COLOUR).transpose(0, 3, 1, 2))
    assert data.train.class_sizes == (1, 1, 1, 1, 1, 1, 1, 1, 1, 3)
    assert data.train.mean == data.test.mean == (0.4377, 0.4438, 0.4728)
    assert data.train.provenance == {
        "source": {
            "name": "svhn",
            "hub_id": "ufldl-stanford/svhn",
            "config": "cropped_digits",
            "resize": None,
            "channels": None,
            "fingerprint": data.train.fingerprint,
            "split": "train",
            "num_images": 12,
        }
    }


def test_the_environment_names_the_mirror(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATACONDENSE_DATA", str(mirror))

    assert load("mnist").train.mean == (0.1307,)
    assert load("cifar10").train.image_shape == (3, 6, 6)


def test_a_changed_form_has_its_own_normalisation(mirror: Path) -> None:
    train = load("cifar10", DataConfig(data_root=mirror, channels=1, resize=4)).train

    assert train.image_shape == (1, 4, 4)
    assert train.mean[0] == pytest.approx(train.pixels().mean().item(), rel=1e-5)
    assert (train.provenance["source"]["resize"], train.provenance["source"]["channels"]) == (4, 1)


def test_a_hub_id_is_found_on_the_mirror(mirror: Path) -> None:
    data = load("uoft-cs/cifar10", DataConfig(data_root=mirror))

    assert data.train.image_shape == (3, 6, 6)
    assert data.train.provenance["source"]["hub_id"] == "uoft-cs/cifar10"
    assert data.train.mean[0] == pytest.approx(data.train.pixels()[:, 0].mean().item(), rel=1e-5)


def test_hub_is_used_for_what_the_mirror_lacks(mirror: Path) -> None:
    with pytest.raises(
        InputError, match=r"uoft-cs/cifar100 is neither on a local mirror .* the Hub cannot be reached"
    ):
        load("cifar100", DataConfig(data_root=mirror))
    with pytest.raises(InputError, match="ufldl-stanford/svhn is neither"):
        load("svhn", DataConfig(data_root=mirror, config="full_numbers"))


def test_missing_mirror_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"--data-root is .*absent, but there is no such folder"):
        load("mnist", DataConfig(data_root=tmp_path / "absent"))
    monkeypatch.setenv("DATACONDENSE_DATA", str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"DATACONDENSE_DATA is .*gone, but there is no such folder"):
        load("mnist")


def test_every_kind_of_path(mirror: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.stack(GREY), labels=np.array(LABELS))
    write_folder(tmp_path / "b", {str(label): GREY[label : label + 1] for label in range(3)})

    sizes = [
        len(load(source).train)
        for source in (
            tmp_path / "a.npz",
            tmp_path / "b",
            str(tmp_path / "b"),
            mirror / "ylecun/mnist",
            mirror / "ylecun/mnist/mnist",
            mirror / "ylecun/mnist/mnist/test-00000-of-00001.parquet",
        )
    ]

    assert sizes == [12, 3, 3, 12, 12, 12]


def test_a_name_is_not_a_folder_that_happens_to_lie_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "digits", {"cat": GREY[:1], "dog": GREY[1:2]})
    monkeypatch.chdir(tmp_path)

    assert len(load("digits").train) == 1442
    assert load("./digits").train.class_names == ("cat", "dog")
    assert load(Path("digits")).train.class_names == ("cat", "dog")


def test_digits_need_no_network() -> None:
    data = load("digits")

    assert data.test is not None
    assert (len(data.train), len(data.test), data.train.image_shape) == (1442, 355, (1, 8, 8))
    assert data.train.provenance["source"]["hub_id"] is None
    assert data.train.fingerprint == "98e4362dd98b5201"


def test_sets_carry_what_is_known_of_their_data_set(mirror: Path) -> None:
    for name, mirrored, augmentation in (
        ("svhn", False, "none"),
        ("mnist", False, "crop-scale-rotate"),
        ("ylecun/mnist", True, "none"),
    ):
        data = load(name, DataConfig(data_root=mirror))
        for images in (data.train, data.test):
            if images is not None:
                found = (images.dataset, images.may_be_mirrored, images.augmentation)
                assert found == (name, mirrored, augmentation)


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(
        InputError, match=r"no data set 'fashion-mnits'; did you mean 'fashion-mnist'\? The known names"
    ):
        load("fashion-mnits")
    with pytest.raises(
        InputError, match=r"no data set 'qqq'\. The known names are cifar10, .*usps; or give a path"
    ):
        load("qqq")


@pytest.mark.parametrize(
    "source",
    [
        *(Path("absent"), "./absent", "absent.npz", "/absent/x", "absent.parquet", "absent/", "absent.zip"),
        *("a/b/absent", "absent.safetensors", "~absent/x", "./absent\0", f"./absent{'x' * 5000}"),
    ],
)
def test_paths_that_are_not_there(source: str | Path) -> None:
    with pytest.raises(InputError, match=r"There is no file or folder .*absent.*check the path"):
        load(source)


def test_a_path_that_is_not_there_tells_what_is(tmp_path: Path) -> None:
    for name in ("b.npz", "a"):
        (tmp_path / name).touch()

    for missing in (tmp_path / "nope", f"{tmp_path}/nope/", tmp_path / "nope" / "train"):
        with pytest.raises(
            InputError, match=rf"no file or folder .*nope.* \(of {tmp_path}: it holds a, b\.npz\)"
        ):
            load(missing)
    with pytest.raises(InputError, match=rf"no file or folder .* \({tmp_path}/a is a file\): check the path"):
        load(tmp_path / "a" / "b")


def test_files_of_unknown_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(InputError, match=r"a\.csv is a file of unknown kind"):
        load(tmp_path / "a.csv")
    for name in ("a.zip", "a.tar.gz", "A.ZIP"):
        (tmp_path / name).write_text("x")
        with pytest.raises(
            InputError, match=rf"{name} is an archive, which is not read: unpack it and give the folder"
        ):
            load(tmp_path / name)
    (tmp_path / "a.safetensors").write_text("x")
    with pytest.raises(
        InputError,
        match=r"a\.safetensors is a set .* not a data set: read it with ImageSet\.load, or score it with",
    ):
        load(tmp_path / "a.safetensors")


def test_a_configuration_that_the_folder_lacks(mirror: Path) -> None:
    with pytest.raises(InputError, match="no parquet files of the configuration 'other'"):
        load(mirror / "ylecun/mnist", DataConfig(config="other"))


def test_settings_without_effect_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "b", {"cat": GREY[:1], "dog": GREY[1:2]})
    np.savez(tmp_path / "a.npz", images=np.stack(GREY), labels=np.array(LABELS))

    with pytest.raises(
        InputError, match="train_split is 'all', but digits has no such setting: leave --train-split out"
    ):
        load("digits", DataConfig(train_split="all"))
    with pytest.raises(
        InputError, match=r"image_column is 'img', but .*a folder of images.* has no such setting"
    ):
        load(tmp_path / "b", DataConfig(image_column="img"))
    with pytest.raises(InputError, match=r"test_split is 'test', but .*a\.npz has no such setting"):
        load(tmp_path / "a.npz", DataConfig(test_split="test"))


def test_one_parquet_file_has_no_configuration(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", GREY, LABELS)
    with pytest.raises(
        InputError, match=r"config is 'b', but .*a\.parquet has no such setting: leave --config out"
    ):
        load(path, DataConfig(config="b"))


def test_a_folder_that_nobody_may_look_into_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"cannot be read as a folder \(Permission denied\): check its perm"):
        load(tmp_path)


def test_names_that_no_file_can_have_are_not_on_a_mirror(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is neither on a local mirror"):
        load(f"owner/{'a' * 300}", DataConfig(data_root=tmp_path))
    with pytest.raises(InputError, match="but there is no such folder: correct it or leave it unset"):
        load("mnist", DataConfig(data_root=tmp_path / ("a" * 300)))


def test_importing_reads_no_heavy_library() -> None:
    code = (
        "import sys, datacondense.data.sources; "
        "sys.exit(bool({'datasets', 'sklearn', 'pandas'} & sys.modules.keys()))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


real_mirror = pytest.mark.skipif(
    not os.environ.get("DATACONDENSE_DATA"), reason="DATACONDENSE_DATA names no mirror of the Hub"
)


@real_mirror
@pytest.mark.parametrize(
    ("name", "sizes", "shape", "mean"),
    [
        ("mnist", (60_000, 10_000), (1, 28, 28), (0.1307,)),
        ("fashion-mnist", (60_000, 10_000), (1, 28, 28), (0.2861,)),
        ("cifar10", (50_000, 10_000), (3, 32, 32), (0.4914, 0.4822, 0.4465)),
        ("usps", (7_291, 2_007), (1, 16, 16), (0.2545,)),
    ],
)
def test_the_real_data_sets(
    name: str, sizes: tuple[int, int], shape: tuple[int, int, int], mean: tuple[float, ...]
) -> None:
    data = load(name)

    assert data.test is not None
    assert (len(data.train), len(data.test)) == sizes
    assert data.train.image_shape == data.test.image_shape == shape
    assert data.train.num_classes == 10
    # The published values are those of the training images, rounded.
    measured = data.train.images.double().mean((0, 2, 3)) / 255
    assert data.train.mean == pytest.approx(mean, abs=1e-4)
    assert measured.tolist() == pytest.approx(mean, abs=1e-3)
