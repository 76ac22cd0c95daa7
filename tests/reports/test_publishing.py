"""Publishing: what is written, what comes back, what the Hub is sent and what it may answer."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import DatasetCard, constants

from datacondense.cli.main import main
from datacondense.cli.publish import made_by
from datacondense.cli.sets import read_set
from datacondense.data.condensed import load_condensed
from datacondense.data.config import DataConfig
from datacondense.data.sources import load
from datacondense.data.whitening import whitened
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.reports.publishing import publish_to_folder, push_to_hub
from tests.conftest import make_set
from tests.data.hub_stand_in import TOKEN, StandIn
from tests.data.test_exported_tiles import four_in_one
from tests.data.test_exports import load_with_datasets, rounded

REPOSITORY = "anna/made-ipc1"


def zca() -> ImageSet:
    """A whitened set."""
    train = make_set(shape=(3, 4, 4), per_class=4)
    return whitened(train, train)


def score_of(images: ImageSet) -> dict[str, Any]:
    protocol = {"network": "convnet-w4", "epochs": 3, "augmentation": "none", "seed": 0}
    tested_on = {"name": "digits", "num_images": 9}
    values = {"mean": 0.5, "std": 0.0125, "n": 2, "protocol": protocol, "tested_on": tested_on}
    return {**values, "trained_on": images.fingerprint}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A Hub of this test's own, and a token for it."""
    with StandIn() as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("DATACONDENSE_DATA", raising=False)
        yield server
        server.shutdown()


@pytest.mark.parametrize("make", [four_in_one, zca, make_set])
def test_a_published_folder_gives_the_same_set(tmp_path: Path, make: Any) -> None:
    images: ImageSet = make()
    images.save(tmp_path / "set.safetensors")
    publish_to_folder(images, tmp_path / "out", REPOSITORY)
    saved = tmp_path / "out" / "condensed.safetensors"
    assert saved.read_bytes() == (tmp_path / "set.safetensors").read_bytes()
    splits = load(tmp_path / "out")
    assert (splits.train.fingerprint, splits.test) == (images.fingerprint, None)
    assert read_set(tmp_path / "out").fingerprint == images.fingerprint
    with pytest.raises(InputError, match="resize is 8, but a condensed set has no such setting"):
        load(tmp_path / "out", DataConfig(resize=8))


def test_datasets_reads_what_is_published(tmp_path: Path) -> None:
    exact = four_in_one().decoded()
    publish_to_folder(four_in_one(), tmp_path / "out", REPOSITORY, scores=[score_of(four_in_one())])
    splits = load_with_datasets(tmp_path, str(tmp_path / "out"))
    assert list(splits) == ["train"]
    rows = splits["train"]
    assert rows.features["label"].names == list(exact.class_names)
    assert rows["label"][:] == exact.labels.tolist()
    arrays = rows.with_format("torch")
    assert torch.equal(arrays["pixels"][:], exact.pixels())
    assert torch.equal(arrays["soft_label"][:], exact.targets)
    assert np.array_equal(np.asarray(rows[5]["image"]), rounded(exact)[5].permute(1, 2, 0).numpy())


def test_a_card_says_what_the_set_is(tmp_path: Path) -> None:
    images = replace(four_in_one(), dataset="mnist", class_names=("a|b", "`c`", "猫"))
    files = publish_to_folder(
        images, tmp_path / "out", REPOSITORY, scores=[score_of(images)], command="datacondense condense mnist"
    )
    assert files == (
        "README.md",
        "condensed.safetensors",
        "data/train-00000-of-00001.parquet",
        "images.png",
        "scores.json",
    )
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    header = card.data.to_dict()
    assert (header["license"], header["size_categories"]) == ("cc-by-sa-3.0", "n<1K")
    assert header["source_datasets"] == ["extended|ylecun/mnist"]
    assert header["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*"}]
    assert "| digits | convnet-w4 | epochs 3, augmentation none, seed 0 | **50.0±1.2** | 2 |" in card.text
    assert "4 images are decoded from each stored one" in card.text
    assert "distributions over the classes" in card.text
    assert '["a|b", "`c`", "猫"]' in card.text
    assert "```bash\ndatacondense condense mnist\n```" in card.text
    assert "datacondense evaluate anna/made-ipc1 --on mnist" in card.text
    assert "Keras documents CC BY-SA 3.0" in card.text
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == [score_of(images)]


def test_a_card_does_not_make_up_what_it_does_not_know(tmp_path: Path) -> None:
    publish_to_folder(zca(), tmp_path / "out", REPOSITORY)
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "unknown"
    assert "Nothing is known here of the licence" in card.text
    assert "No score was published" in card.text
    assert "whitened alike" in card.text
    publish_to_folder(zca(), tmp_path / "own", REPOSITORY, licence="mit")
    assert DatasetCard.load(tmp_path / "own" / "README.md").data.license == "mit"


def test_what_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"A score is that of the set .*, but this is"):
        publish_to_folder(zca(), tmp_path / "out", REPOSITORY, scores=[score_of(four_in_one())])
    with pytest.raises(InputError, match="'anna' is no name of a repository: give OWNER/NAME"):
        publish_to_folder(zca(), tmp_path / "out", "anna")
    with pytest.raises(InputError, match="Several classes are called 'x'"):
        publish_to_folder(replace(four_in_one(), class_names=("x",) * 3), tmp_path / "out", REPOSITORY)
    assert list(tmp_path.iterdir()) == []


def test_the_hub_gives_back_what_it_was_sent(hub: StandIn, tmp_path: Path) -> None:
    images = four_in_one()
    assert push_to_hub(images, REPOSITORY, private=True) == f"{hub.address}/datasets/{REPOSITORY}"
    assert hub.made[REPOSITORY].get("visibility", hub.made[REPOSITORY].get("private")) in {"private", True}
    publish_to_folder(images, tmp_path / "out", REPOSITORY)
    written = (path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert hub.files[REPOSITORY] == {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in written
    }
    splits = load(REPOSITORY)
    assert (splits.train.fingerprint, splits.test) == (images.fingerprint, None)
    assert splits.train.provenance == images.provenance
    assert read_set(Path(REPOSITORY)).fingerprint == images.fingerprint


def test_a_repository_that_exists_needs_force(hub: StandIn) -> None:
    push_to_hub(four_in_one(), REPOSITORY)
    with pytest.raises(InputError, match=f"{REPOSITORY} exists on the Hub: give another name, or --force"):
        push_to_hub(zca(), REPOSITORY)
    push_to_hub(zca(), REPOSITORY, force=True)
    assert load(REPOSITORY).train.fingerprint == zca().fingerprint


@pytest.mark.parametrize(
    ("part", "code", "message"),
    [
        ("create", 401, "The Hugging Face Hub does not know the token: log in anew with `hf auth login`"),
        ("create", 403, f"The token may not write to {REPOSITORY}: name an owner"),
        ("create", 500, f"The Hugging Face Hub refuses {REPOSITORY} .*: try again later"),
        ("commit", 403, f"The token may not write to {REPOSITORY}"),
        ("commit", 409, f"{REPOSITORY} was changed by someone else meanwhile: try again with --force"),
        ("commit", 500, "the repository is there and may be empty: try again with --force"),
    ],
)
def test_a_refusal_of_the_hub_is_one_sentence(hub: StandIn, part: str, code: int, message: str) -> None:
    hub.refusals = {part: code}
    with pytest.raises(InputError, match=message):
        push_to_hub(four_in_one(), REPOSITORY)
    assert hub.files == {}


def test_without_a_token_or_a_hub(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="does not know the token"):
        push_to_hub(four_in_one(), REPOSITORY, token="hf_other")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        InputError, match=r"cannot be uploaded to the Hugging Face Hub \(.*\): check the connec"
    ):
        push_to_hub(four_in_one(), REPOSITORY)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(
        InputError, match=r"There is no token of the Hugging Face Hub: log in with `hf auth log"
    ):
        push_to_hub(four_in_one(), REPOSITORY)


def test_the_command_publishes_to_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = load_condensed("digits-1")
    images.save(tmp_path / "set.safetensors")
    (tmp_path / "score.json").write_text(json.dumps(score_of(images)))
    words = ["publish", str(tmp_path / "set.safetensors"), REPOSITORY, "--to", str(tmp_path / "out")]
    assert main([*words, "--score", str(tmp_path / "score.json")]) == 0
    assert "10 images (1 for each of 10 classes), written to" in capsys.readouterr().out
    command = made_by(images.provenance)
    assert command is not None
    assert command in DatasetCard.load(tmp_path / "out" / "README.md").text
    assert main([*words, "--force"]) == 2
    assert "--to uploads nothing" in capsys.readouterr().err


def test_the_command_that_made_a_set() -> None:
    provenance = dict(load_condensed("digits-10").provenance)
    assert made_by(provenance) == (
        "datacondense condense digits --out OUT --method distribution-matching --budget published --ipc 10 "
        "--network convnet-w32-d2 --real-batch 64 --siamese dsa:color-crop-cutout-scale-rotate --iterations 1000"
    )
    strange: dict[str, Any]
    for strange in (
        {"method": "random"},
        {"settings": {"ipc": 1, "new": 2}},
        {"settings": {"ipc": 1}},  # the others may have been anything
        {"soft_labels": {}},
        {"source": {"name": "digits", "hold_out": {"fraction": 0.1}}},
        {"source": None},
    ):
        assert made_by({**provenance, **strange}) is None


def test_the_command_names_the_network_that_would_not_be_taken_by_itself() -> None:
    provenance = dict(load_condensed("digits-10").provenance)
    command = made_by({**provenance, "settings": {**provenance["settings"], "network": "convnet"}})
    assert command is not None
    assert " --network convnet " in command


def test_what_is_neither_a_file_nor_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match="There is no file nobody/nothing, and no condensed set of that name"
    ):
        read_set(Path("nobody/nothing"))
    with pytest.raises(InputError, match=r"There is no file nobody/set\.safetensors: check the path"):
        read_set(Path("nobody/set.safetensors"))
