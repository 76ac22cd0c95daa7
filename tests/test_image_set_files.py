"""The file of an `ImageSet`: what comes back, and what is refused."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from tests.conftest import forbid
from tests.made_images import facts, learned_images, read_images, with_pixel


class TestFile:
    @pytest.mark.parametrize("make", [read_images, learned_images])
    def test_round_trip(self, tmp_path: Path, make: Callable[[], ImageSet]) -> None:
        images, path = make(), tmp_path / "new" / "a.safetensors"
        images.save(path)
        loaded = ImageSet.load(path)
        assert torch.equal(loaded.images, images.images)
        assert loaded.images.dtype == images.images.dtype
        assert torch.equal(loaded.labels, images.labels)
        assert loaded.class_names == images.class_names
        assert (loaded.mean, loaded.std) == (images.mean, images.std)
        assert loaded.provenance == images.provenance
        assert facts(loaded) == ("pets", False, "crop")
        assert loaded.fingerprint == images.fingerprint

    def test_bytes_are_a_function_of_the_content(self, tmp_path: Path) -> None:
        learned_images().save(tmp_path / "a")
        learned_images().save(tmp_path / "b")
        loaded = ImageSet.load(tmp_path / "a")
        reordered = replace(loaded, provenance=dict(reversed(list(loaded.provenance.items()))))
        reordered.save(str(tmp_path / "c"))
        first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
        assert first == second == third

    def test_header_of_any_length_is_read(self, tmp_path: Path) -> None:
        # The first byte is the length's lowest, which may be the one that pickles begin with.
        first_bytes = set()
        for length in range(0, 264, 8):
            images = replace(learned_images(), provenance={"note": "x" * length})
            images.save(tmp_path / "a")
            first_bytes.add((tmp_path / "a").read_bytes()[0])
            assert ImageSet.load(tmp_path / "a").provenance == images.provenance
        assert 0x80 in first_bytes

    def test_views_of_larger_tensors_are_saved_alone(self, tmp_path: Path) -> None:
        images = learned_images()
        strided = replace(images, images=torch.zeros(3, 2, 1, 40)[..., ::20])
        strided.save(tmp_path / "a")
        assert torch.equal(ImageSet.load(tmp_path / "a").images, torch.zeros(3, 2, 1, 2))
        assert (tmp_path / "a").stat().st_size < 1000

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"There is no file .*missing\.safetensors: check the path"):
            ImageSet.load(tmp_path / "missing.safetensors")
        with pytest.raises(
            InputError, match=r"is a folder, .*: give .*condensed\.safetensors for a run's result; load"
        ):
            ImageSet.load(tmp_path)

    def test_a_cut_is_noticed_wherever_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        learned_images().save(path)
        content = path.read_bytes()
        for length in range(0, len(content), 3):
            path.write_bytes(content[:length])
            with pytest.raises(
                InputError, match=r"a\.safetensors cannot be read as safetensors .* it is cut short"
            ):
                ImageSet.load(path)

    def test_a_flipped_bit_is_noticed_or_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        learned_images().save(path)
        content = path.read_bytes()
        for position in range(8, len(content), 3):
            flipped = bytearray(content)
            flipped[position] ^= 1 << position % 8
            path.write_bytes(flipped)
            try:
                loaded = ImageSet.load(path)
            except InputError:
                continue
            # In the name of the checksum, or in what pads the header.
            assert loaded.fingerprint == learned_images().fingerprint
            for name in (
                "class_names",
                "mean",
                "std",
                "provenance",
                "dataset",
                "may_be_mirrored",
                "augmentation",
            ):
                assert getattr(loaded, name) == getattr(learned_images(), name), (position, name)

    @pytest.mark.parametrize(
        "content", [b"", b"text", bytes(100), b"\xff" * 100, pickle.dumps([1, 2], protocol=0)]
    )
    def test_other_files(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as safetensors"):
            ImageSet.load(tmp_path / "a")

    def test_pickles_are_refused_unread(self, tmp_path: Path) -> None:
        torch.save({"images": torch.zeros(1)}, tmp_path / "by_torch.pt")
        torch.save(
            {"images": torch.zeros(1)}, tmp_path / "by_old_torch.pt", _use_new_zipfile_serialization=False
        )
        (tmp_path / "by_pickle.pkl").write_bytes(pickle.dumps([1, 2]))
        for path in tmp_path.iterdir():
            with pytest.raises(InputError, match=r"is a pickle .* datacondense never reads one"):
                ImageSet.load(path)

    def test_foreign_safetensors(self, tmp_path: Path) -> None:
        save_file({"weight": torch.zeros(2)}, tmp_path / "a")
        save_file({"weight": torch.zeros(2)}, tmp_path / "b", {"format": "pt"})
        with pytest.raises(
            InputError, match=r"not an image set \(its format entry is None, not 'datacondense"
        ):
            ImageSet.load(tmp_path / "a")
        with pytest.raises(InputError, match=r"not an image set \(its format entry is 'pt'"):
            ImageSet.load(tmp_path / "b")


class TestDamagedFile:
    """Files that are safetensors and say that they are image sets."""

    @staticmethod
    def write(path: Path, tensors: dict[str, Tensor], **changes: str | None) -> None:
        images = learned_images()
        metadata: dict[str, str | None] = {
            "format": "datacondense.image_set",
            "format_version": "1",
            "class_names": json.dumps(images.class_names),
            "mean": json.dumps(images.mean),
            "std": json.dumps(images.std),
            "record": "{}",
            **changes,
        }
        kept = {name: value for name, value in metadata.items() if value is not None}
        save_file({"images": images.images, "labels": images.labels, **tensors}, path, kept)

    def test_file_written_by_hand_is_read(self, tmp_path: Path) -> None:
        self.write(tmp_path / "a", {})
        assert torch.equal(ImageSet.load(tmp_path / "a").images, learned_images().images)

    @pytest.mark.parametrize(
        ("record", "expected"),
        [
            ({"source": {"name": "mnist"}}, ("mnist", False, "crop-scale-rotate")),
            ({"source": {"name": "digits"}}, ("digits", False, "none")),
            ({"source": {"name": "owner/name"}}, ("owner/name", True, "none")),
            ({"source": {}}, (None, True, "none")),
            ({}, (None, True, "none")),
        ],
    )
    def test_facts_of_files_written_before_follow_from_the_name(
        self, tmp_path: Path, record: dict[str, Any], expected: tuple[str | None, bool, str]
    ) -> None:
        self.write(tmp_path / "a", {}, record=json.dumps(record))
        assert facts(ImageSet.load(tmp_path / "a")) == expected

    @pytest.mark.parametrize("version", ["4", "0", None])
    def test_other_version(self, tmp_path: Path, version: str | None) -> None:
        self.write(tmp_path / "a", {}, format_version=version)
        with pytest.raises(
            InputError,
            match=f"has format version {version}, but this release reads versions 1, 2, 3: install",
        ):
            ImageSet.load(tmp_path / "a")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"class_names": None}, "missing required field `class_names`"),
            ({"record": None}, "missing required field `record`"),
            ({"mean": "[0.5,"}, "Expecting value"),
            ({"record": ""}, "Expecting value"),
            ({"class_names": "5"}, r"Expected `array`, got `int` - at `\$.class_names`"),
            ({"class_names": '"ab"'}, "Expected `array`, got `str`"),
            ({"class_names": "{}"}, "Expected `array`, got `object`"),
            ({"class_names": '["cat", 5]'}, r"Expected `str`, got `int` - at `\$.class_names\[1\]`"),
            ({"mean": "0.5"}, "Expected `array`, got `float`"),
            ({"mean": "[null, 0.5]"}, "Expected `float`, got `null`"),
            ({"std": '["a", 0.5]'}, "Expected `float`, got `str`"),
            ({"std": "[0.5]"}, "Normalisation has 2 means and 1 stds"),
            ({"std": "[Infinity, 0.5]"}, "must be finite"),
            ({"std": "[1e-300, 0.5]"}, "must be finite in float32 with every std above 0"),
            ({"mean": "[1e300, 0.5]"}, "must be finite in float32"),
            ({"mean": "[" + "9" * 400 + ", 0.5]"}, "out of range|too large|overflow"),
            ({"record": "[]"}, "Expected `object`, got `array`"),
            ({"record": "null"}, "Expected `object`, got `null`"),
            ({"record": '{"source": []}'}, r"Expected `object`, got `array` - at `\$.record.source`"),
            (
                {"record": '{"settings": {"network": 1}}'},
                r"Expected `str`, got `int` - at `\$.record.settings.network`",
            ),
            ({"record": '{"learned": {"step_lrs": ["a"]}}'}, "Expected `float`, got `str`"),
            ({"record": "[" * 100_000}, "recursion"),
            ({"mean": "[" + "9" * 5000 + "]"}, "digits"),
            ({"dataset": "3"}, r"Expected `str \| null`, got `int`"),
            ({"dataset": "null", "may_be_mirrored": "1"}, "Expected `bool`, got `int`"),
            ({"dataset": "null", "augmentation": "null"}, "Expected `str`, got `null`"),
            ({"class_names": "[]"}, "Labels run from 0 to 1, but 0 classes"),
            ({"whitening": "3"}, r"Expected `object`, got `int` - at `\$.whitening`"),
            ({"whitening": '{"kind": "pca", "epsilon": 0.1, "fitted_on": ""}'}, "Invalid enum value 'pca'"),
        ],
    )
    def test_metadata(self, tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
        self.write(tmp_path / "a", {}, **changes)
        with pytest.raises(
            InputError, match=f"a cannot be read as an image set .*{message}.*copy it again or create it anew"
        ):
            ImageSet.load(tmp_path / "a")

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ({"images": torch.zeros(3, 2, 1, 2, dtype=torch.float64)}, r"Images are torch\.float64"),
            ({"images": torch.zeros(3, 2)}, r"Images have shape \(3, 2\)"),
            ({"images": with_pixel(float("nan"), 0)}, "1 images hold NaN"),
            ({"labels": torch.tensor([0, 1])}, r"Labels are torch\.int64 of shape \(2,\)"),
            ({"labels": torch.tensor([0, 1, 9])}, "Labels run from 0 to 9"),
        ],
    )
    def test_tensors(self, tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
        self.write(tmp_path / "a", tensors)
        with pytest.raises(InputError, match=f"a cannot be read as an image set .*{message}"):
            ImageSet.load(tmp_path / "a")

    @pytest.mark.parametrize("missing", ["images", "labels"])
    def test_missing_tensor(self, tmp_path: Path, missing: str) -> None:
        tensors = {"images": learned_images().images, "labels": learned_images().labels}
        del tensors[missing]
        images = learned_images()
        facts = {name: json.dumps(getattr(images, name)) for name in ("class_names", "mean", "std")}
        named = {"format": "datacondense.image_set", "format_version": "1", "record": "{}", **facts}
        save_file(tensors, tmp_path / "a", named)
        with pytest.raises(InputError, match=f"a cannot be read as an image set .*it lacks '{missing}'"):
            ImageSet.load(tmp_path / "a")


def test_a_file_that_nobody_may_look_at_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"cannot be read as safetensors \(File name too long\)"):
        ImageSet.load(tmp_path / ("a" * 300))
    forbid(tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"a cannot be read as safetensors \(Permission denied\)"):
        ImageSet.load(tmp_path / "a")
