"""The class folders of an export: their names, and the order of the classes."""

import json
from pathlib import Path

import pytest

from datacondense.data.exports import export, load_export
from datacondense.errors import InputError
from tests.data.test_exports import content, learned


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("T-shirt/top", "T-shirt_top"),
        ("../../etc", "_.._etc"),
        ("a:b*c?", "a_b_c_"),
        (".hidden", "hidden"),
        ("__cache__", "_cache__"),
        (" spaces. ", "spaces"),
        ("line\nbreak", "line_break"),
        ("猫 ü", "猫 ü"),
        ("..", "_"),
        ("", "_"),
        ("x" * 300, "x" * 200),
        ("ü" * 150, "ü" * 100),
    ],
)
def test_unsafe_class_names_become_safe_folders(tmp_path: Path, name: str, folder: str) -> None:
    images = learned(1, (name, "dog", "cow"))
    export(images, tmp_path / "out", format="image-folder")
    assert {path.name for path in (tmp_path / "out" / "train").iterdir()} == {folder, "dog", "cow"}
    assert load_export(tmp_path / "out")[0].class_names == images.class_names
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_image_folder_tells_the_order_of_its_classes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    images = learned(1, ("10", "a/b", "2"))
    export(images, out, format="image-folder")
    assert json.loads((out / "classes.json").read_text()) == ["10", "a_b", "2"]
    assert load_export(out)[0].labels.tolist() == images.labels.tolist()

    (out / "classes.json").write_text('["2", "a_b", "10"]')
    with pytest.raises(InputError, match=r"holds other images or labels than original\.safetensors"):
        load_export(out)
    (out / "classes.json").write_text('["2", "a_b"]')
    with pytest.raises(InputError, match="out cannot be read back"):
        load_export(out)
    # As earlier releases wrote it.
    (out / "classes.json").unlink()
    assert load_export(out)[0].labels.tolist() == images.labels.tolist()
    export(images, out, format="image-folder", force=True)
    export(images, out, format="npz", force=True)
    assert sorted(content(out)) == ["images.npz", "original.safetensors"]
