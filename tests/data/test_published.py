import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from datacondense.data.published import read_published
from datacondense.data.whitening import whitened
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from tests.data.made_published import IMAGES, LABELS, RATE, REAL, ROWS, arrays, pair, runs, tensors


def imported(images: ImageSet) -> Any:
    return images.provenance["imported"]


class TestRuns:
    def test_networks_see_the_numbers_of_the_file(self, tmp_path: Path) -> None:
        path = runs(tmp_path / "res_DC_made_MLP_2ipc.pt")
        found = read_published(path, on=REAL)
        torch.testing.assert_close(found.normalised(), IMAGES)
        torch.testing.assert_close(found.images, IMAGES * 0.25 + 0.5)
        assert torch.equal(found.labels, LABELS)
        assert (found.class_names, found.mean, found.std) == (REAL.class_names, REAL.mean, REAL.std)
        assert found.provenance["settings"] == {"siamese": "none", "factor": 1, "network": "mlp"}
        assert imported(found) == {
            "format": "dc",
            "files": [{"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}],
            "scale": "normalised",
            "run": 0,
            "runs": 2,
            "accuracies": {"ConvNet": {"mean": 0.5, "std": 0.25, "n": 2}},
        }

    def test_another_run(self, tmp_path: Path) -> None:
        path = runs(tmp_path / "res_DC_made_MLP_2ipc.pt")
        found = read_published(path, on=REAL, run=1)
        torch.testing.assert_close(found.normalised(), IMAGES + 1)
        assert imported(found)["run"] == 1
        with pytest.raises(InputError, match=r"run is 2, but .* has runs 0 to 1"):
            read_published(path, on=REAL, run=2)

    @pytest.mark.parametrize(
        ("name", "siamese", "factor"),
        [("res_DSA_x_ConvNet_1ipc.pt", "dsa", 1), ("res_DM_x.pt", "dsa", 1), ("IDM/res.pt", "dsa", 2)],
    )
    def test_the_method_is_in_the_name(self, name: str, siamese: str, factor: int, tmp_path: Path) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        found = read_published(runs(tmp_path / name), on=REAL)
        assert (found.provenance["settings"]["siamese"], found.factor) == (siamese, factor)

    def test_a_name_that_does_not_say_the_method(self, tmp_path: Path) -> None:
        path = runs(tmp_path / "result.pt")
        with pytest.raises(
            InputError, match="does not say which method made it: give --format dc, dsa, dm, idm or d"
        ):
            read_published(path, on=REAL)
        assert imported(read_published(path, on=REAL, format="dm"))["format"] == "dm"

    def test_whether_datadam_is_whitened_must_be_said(self, tmp_path: Path) -> None:
        path = runs(tmp_path / "res_DataDAM.pt")
        with pytest.raises(InputError, match="do not say whether their images are ZCA-whitened: give --zca"):
            read_published(path, on=REAL)
        assert read_published(path, on=REAL, zca=False).whitening is None
        whitened = read_published(path, on=REAL, zca=True)
        assert torch.equal(whitened.normalised(), IMAGES)
        assert whitened.whitening is not None
        assert whitened.whitening.fitted_on == REAL.fingerprint

    def test_a_set_of_another_data_set_is_refused(self, tmp_path: Path) -> None:
        path = runs(tmp_path / "res_DC.pt", images=torch.zeros(6, 3, 8, 8))
        with pytest.raises(InputError, match=r"shape \(3, 8, 8\), but the real ones are \(1, 8, 8\)"):
            read_published(path, on=REAL)

    @pytest.mark.parametrize("accuracies", [[1], {"ConvNet": 3}, {"ConvNet": ["x", float("nan"), 10**400]}])
    def test_strange_accuracies_are_left_out(self, accuracies: Any, tmp_path: Path) -> None:
        found = read_published(runs(tmp_path / "res_DC.pt", accuracies=accuracies), on=REAL)
        assert imported(found)["accuracies"] == {}


class TestTensors:
    def test_logits_become_distributions_and_the_rate_is_kept(self, tmp_path: Path) -> None:
        found = read_published(tensors(tmp_path / "best", ROWS, torch.tensor(RATE)), on=REAL)
        assert imported(found)["format"] == "datm"
        assert torch.equal(found.labels, ROWS.argmax(1))
        assert found.soft_labels is not None
        torch.testing.assert_close(found.soft_labels, ROWS.exp() / ROWS.exp().sum(1, keepdim=True))
        assert found.provenance["learned"]["inner_lr"] == pytest.approx(RATE)
        assert torch.equal(found.images, IMAGES)
        assert found.whitening is not None
        assert [each["name"] for each in imported(found)["files"]] == [
            "images_best.pt",
            "labels_best.pt",
            "lr_best.pt",
        ]

    def test_class_numbers_of_mtt(self, tmp_path: Path) -> None:
        folder = tensors(tmp_path / "x")
        found = read_published(folder, on=REAL, zca=False, learning_rate=RATE)
        assert imported(found)["format"] == "mtt"
        assert found.soft_labels is None
        torch.testing.assert_close(found.normalised(), IMAGES)
        assert found.provenance["learned"] == {"inner_lr": RATE}
        assert found.provenance["settings"]["siamese"] == "dsa"

    def test_parts_are_joined_in_their_order(self, tmp_path: Path) -> None:
        one, two = (tensors(tmp_path / name) for name in "ab")
        torch.save(IMAGES + 1, two / "images_best.pt")
        files = [folder / f"{kind}_best.pt" for kind in ("labels", "images") for folder in (one, two)]
        found = read_published(*files, on=REAL, zca=False)
        torch.testing.assert_close(found.normalised(), torch.cat([IMAGES, IMAGES + 1]))
        assert found.labels.tolist() == LABELS.tolist() * 2

    def test_distributions_are_kept(self, tmp_path: Path) -> None:
        shares = ROWS.softmax(1)
        found = read_published(tensors(tmp_path / "x", shares), on=REAL)
        assert found.soft_labels is not None
        torch.testing.assert_close(found.soft_labels, shares)

    def test_images_alone_are_refused(self, tmp_path: Path) -> None:
        folder = tensors(tmp_path / "x")
        with pytest.raises(
            InputError, match=r"holds no set of a known form .float32 .6, 1, 8, 8.*give images and labels"
        ):
            read_published(folder / "images_best.pt", on=REAL)
        with pytest.raises(InputError, match="but one set is needed: give its images, its labels"):
            read_published(folder / "images_best.pt", folder / "images_best.pt", on=REAL)

    def test_parts_of_other_shapes_are_refused(self, tmp_path: Path) -> None:
        one, two = (tensors(tmp_path / name) for name in "ab")
        torch.save(torch.zeros(6, 1, 4, 4), two / "images_best.pt")
        files = [folder / f"{kind}_best.pt" for kind in ("images", "labels") for folder in (one, two)]
        with pytest.raises(InputError, match="but one set is needed"):
            read_published(*files, on=REAL)

    def test_labels_of_other_classes_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="labels have 4 classes, but the real data have 3"):
            read_published(tensors(tmp_path / "x", torch.zeros(6, 4)), on=REAL, zca=False)


class TestPair:
    def test_pixels_stay_and_the_factor_is_in_the_name(self, tmp_path: Path) -> None:
        (tmp_path / "conv3in_factor2_ipc2").mkdir()
        path = pair(tmp_path / "conv3in_factor2_ipc2" / "data_best.pt")
        found = read_published(path, on=REAL)
        torch.testing.assert_close(found.images, IMAGES.sigmoid() * 1.2 - 0.1)
        assert (found.factor, len(found.decoded())) == (2, 24)
        assert found.provenance["settings"]["siamese"] == "idc"

    def test_a_name_without_a_factor(self, tmp_path: Path) -> None:
        path = pair(tmp_path / "data.pt")
        with pytest.raises(InputError, match="do not say how many tiles an image holds: give --factor"):
            read_published(path, on=REAL)
        assert read_published(path, on=REAL, factor=1).factor == 1

    def test_numbers_far_below_zero_are_normalised_ones(self, tmp_path: Path) -> None:
        assert IMAGES.min() < -1
        found = read_published(pair(tmp_path / "data.pt", IMAGES), on=REAL, factor=1)
        torch.testing.assert_close(found.normalised(), IMAGES)


class TestArrays:
    @pytest.mark.parametrize(
        ("name", "kind"), [("x_zca_nol.npz", "kip"), ("x_nozca_nol.npz", None)], ids=["zca", "nozca"]
    )
    def test_kip(self, name: str, kind: str | None, tmp_path: Path) -> None:
        found = read_published(arrays(tmp_path / name), on=REAL)
        torch.testing.assert_close(found.normalised(), IMAGES)
        assert getattr(found.whitening, "kind", None) == kind
        assert torch.equal(found.labels, ROWS.argmax(1))
        assert found.soft_labels is None

    def test_frepo_whitens_colour_alone(self, tmp_path: Path) -> None:
        found = read_published(arrays(tmp_path / "x.npz", ("image", "label")), on=REAL)
        assert (imported(found)["format"], found.whitening) == ("frepo", None)

    def test_other_arrays_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"has the arrays a, b, but images and labels \(KIP\)"):
            read_published(arrays(tmp_path / "x.npz", ("a", "b")), on=REAL)


class TestFolder:
    @pytest.mark.parametrize(
        ("names", "form"), [("{:05d}", "rded"), ("new{:03d}", "sre2l")], ids=["rded", "sre2l"]
    )
    def test_classes_are_in_their_order(self, names: str, form: str, tmp_path: Path) -> None:
        for label in range(3):
            folder = tmp_path / "syn" / names.format(label)
            folder.mkdir(parents=True)
            Image.new("L", (8, 8), 50 * label).save(folder / "class_id000.png")
        found = read_published(tmp_path / "syn", on=REAL)
        assert found.images[:, 0, 0, 0].tolist() == [0, 50, 100]
        assert found.labels.tolist() == [0, 1, 2]
        assert (found.class_names, imported(found)["format"]) == (REAL.class_names, form)
        with pytest.raises(InputError, match="zca is on, but a folder"):
            read_published(tmp_path / "syn", on=REAL, zca=True)
        shutil.rmtree(tmp_path / "syn" / names.format(2))
        with pytest.raises(InputError, match="has 2 class folders, but the real data have 3 classes"):
            read_published(tmp_path / "syn", on=REAL)


def test_a_form_that_the_file_has_not_is_refused(tmp_path: Path) -> None:
    path = pair(tmp_path / "data.pt")
    with pytest.raises(InputError, match=r"format is 'dm', but .* is laid out as those of idc, dream, ncfm"):
        read_published(path, on=REAL, format="dm")
    with pytest.raises(InputError, match="run is 1, but the file holds one set"):
        read_published(path, on=REAL, factor=1, run=1)
    with pytest.raises(InputError, match="learning_rate is -1, but must be above 0"):
        read_published(path, on=REAL, factor=1, learning_rate=-1)
    with pytest.raises(InputError, match="The real images are whitened: give them as they were read"):
        read_published(path, on=whitened(REAL, REAL), factor=1)
    with pytest.raises(InputError, match="No file is given"):
        read_published(on=REAL)


def test_the_set_is_saved_with_all_of_it(tmp_path: Path) -> None:
    found = read_published(tensors(tmp_path / "x", ROWS, RATE), on=REAL)
    found.save(tmp_path / "set.safetensors")
    assert b'"format_version":"3"' in (tmp_path / "set.safetensors").read_bytes()
    loaded = ImageSet.load(tmp_path / "set.safetensors")
    assert (loaded.whitening, loaded.provenance) == (found.whitening, found.provenance)
    assert loaded.fingerprint == found.fingerprint
    assert loaded.fingerprint != read_published(tmp_path / "x", on=REAL, zca=False).fingerprint
