"""The standard evaluation: what is scored beside what, and DD-Ranking's scores."""

from dataclasses import replace
from math import e, isnan
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense import ImageSet, InputError, load_condensed, select_random
from datacondense.cli.main import main
from datacondense.data.data_source import DataSource, identified
from datacondense.evaluation import protocol
from datacondense.selection.by_network import Select
from datacondense.studies.read_set import set_in_file
from datacondense.studies.standard import OWN, SET, StandardConfig, standard, standard_scores
from datacondense.studies.study import Study
from tests.reports.made_studies import of_sets, scores, study

DIGITS = DataSource(name="digits")
SMALL = StandardConfig(networks=("mlp", "lenet"), coresets=("herding",), random_sets=2, repeats=3)


@pytest.fixture(scope="module")
def digits() -> DataSource:
    return identified(DIGITS)


def saved(images: ImageSet, path: Path, **changes: Any) -> Path:
    replace(images, **changes).save(path)
    return path


def replace_images(images: ImageSet, size: int) -> ImageSet:
    """Return a set of so many images."""
    positions = torch.arange(size) % len(images)
    return images.subset(positions)


def declared(data: DataSource, *files: Path, config: StandardConfig = SMALL) -> Study:
    return standard(data, files, config)


def test_a_set_stands_beside_random_images_and_coresets_in_every_protocol(
    digits: DataSource, tmp_path: Path
) -> None:
    found = declared(digits, saved(load_condensed("digits-10"), tmp_path / "a.safetensors"))
    assert found.rows == (SET, "random", "herding")
    assert found.columns == (
        OWN,
        *(f"hard, {change}, {net}" for change in SMALL.augmentations for net in SMALL.networks),
    )
    sizes = {row: len(found.entries[row, "hard, dsa, lenet"]) for row in found.rows}
    assert sizes == {SET: 3, "random": 6, "herding": 3}
    (network,) = {task.protocol.network for task in found.entries[SET, "hard, dsa, lenet"]}
    assert network == "lenet"
    (epochs,) = {task.protocol.epochs for task in found.entries["random", "hard, none, mlp"]}
    assert epochs == 300


def test_a_set_is_trained_on_with_its_own_network_and_an_mlp_long_enough(digits: DataSource) -> None:
    real, made = digits.read().train, load_condensed("digits-1")
    config = StandardConfig().resolved(made, real)
    assert config.networks == ("convnet-w32-d2", "mlp")
    assert config.full_epochs == 500  # of 6 updates
    assert StandardConfig().resolved(real, replace_images(real, 60_000)).full_epochs == 30
    learned = replace(made, provenance={"settings": {"network": "mlp"}})
    assert StandardConfig().resolved(learned, real).networks == ("mlp", "convnet")
    assert StandardConfig(networks=("lenet",), full_epochs=2).resolved(made, real) == StandardConfig(
        networks=("lenet",), full_epochs=2
    )


def test_several_sets_are_one_row(digits: DataSource, tmp_path: Path) -> None:
    made = load_condensed("digits-1")
    files = [saved(made, tmp_path / f"{name}.safetensors") for name in "ab"]
    entry = declared(digits, *files).entries[SET, OWN]
    assert [(task.protocol.seed, Path(task.source.path).stem) for task in entry] == [
        *[(0, "a")] * 3,
        *[(1, "b")] * 3,
    ]


def test_coresets_have_the_storage_of_the_set(digits: DataSource, tmp_path: Path) -> None:
    real = digits.read().train
    sizes = [3 if name == "4" else 1 for name in real.class_names]
    made = replace(select_random(real, sizes, 0), factor=2)
    (task, *_) = declared(digits, saved(made, tmp_path / "a.safetensors")).entries["random", OWN]
    assert isinstance(task.source, Select)
    assert (task.source.ipc, task.source.ipc_of, task.source.factor) == (1, {"4": 3}, 2)


def test_random_images_among_the_coresets_keep_their_sets(digits: DataSource, tmp_path: Path) -> None:
    path = saved(load_condensed("digits-1"), tmp_path / "a.safetensors")
    found = declared(digits, path, config=replace(SMALL, coresets=("random", "herding")))
    assert found.rows == (SET, "random", "herding")
    assert [len(found.entries[row, OWN]) for row in found.rows] == [3, 2 * 3, 3]


def test_a_file_is_counted_once(digits: DataSource, tmp_path: Path) -> None:
    path = saved(load_condensed("digits-10"), tmp_path / "a.safetensors")
    task = set_in_file(digits, path)
    assert task.ipc == 10
    path.unlink()
    assert task.ipc == 10


def test_the_own_protocol_is_what_evaluate_uses(digits: DataSource, tmp_path: Path) -> None:
    settings = {"network": "convnet-w16-d2", "siamese": "dsa"}
    provenance = {"method": "distribution-matching", "settings": settings}
    path = saved(load_condensed("digits-1"), tmp_path / "a.safetensors", provenance=provenance)
    entries = declared(digits, path).entries
    for row in (SET, "random"):
        own = entries[row, OWN][0].protocol
        assert (own.network, own.epochs) == ("convnet-w16-d2", 1000)
        assert own.augmentation.startswith("dsa:")
        assert "flip" not in own.augmentation


def test_random_images_get_labels_of_the_same_teacher(digits: DataSource, tmp_path: Path) -> None:
    made = select_random(digits.read().train, 1, 0)
    facts = {"teacher": "mlp", "fingerprint": "0" * 16, "temperature": 2.0}
    soft = torch.full((10, 10), 0.1)
    path = saved(made, tmp_path / "a.safetensors", soft_labels=soft, provenance={"soft_labels": facts})
    found = declared(digits, path)
    assert "soft, none, mlp" in found.columns
    task = found.entries["random", "soft, none, mlp"][0]
    assert task.source.teacher.protocol.network == "mlp"
    assert task.source.temperature == 2
    assert found.entries["random", "hard, none, mlp"][0].source.teacher is None
    provenance = {"soft_labels": facts | {"teacher": "mine:net"}}
    of_somebody = saved(made, tmp_path / "b.safetensors", soft_labels=soft, provenance=provenance)
    assert ("random", "soft, none, mlp") not in declared(digits, of_somebody).entries


def test_sets_of_several_kinds_are_refused(digits: DataSource, tmp_path: Path) -> None:
    files = [
        saved(load_condensed(name), tmp_path / f"{name}.safetensors") for name in ("digits-1", "digits-10")
    ]
    with pytest.raises(
        InputError, match=r"digits-10.safetensors is a set of another kind than .*digits-1\.safe"
    ):
        declared(digits, *files)


def test_no_set_is_refused(digits: DataSource) -> None:
    with pytest.raises(InputError, match="No set is given: name at least one"):
        declared(digits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augmentations": ()}, "augmentations is empty"),
        ({"repeats": 0}, "repeats is 0, but must be 1 or more"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StandardConfig(**changes)


def mapped(difference: float) -> float:
    return float((e**difference - 1 / e) / (e - 1 / e))


def test_scores_follow_from_the_table_by_hand() -> None:
    accuracies = {
        (SET, OWN): 70.0,
        ("random", OWN): 50.0,
        (SET, "hard, none, mlp"): 60.0,
        ("random", "hard, none, mlp"): 50.0,
        (SET, "hard, dsa, mlp"): 66.0,
        ("random", "hard, dsa, mlp"): 52.0,
    }
    result = study(
        {entry: of_sets(value) for entry, value in accuracies.items()},
        full=scores(96),
        rows=(SET, "random"),
        columns=(OWN, "hard, none, mlp", "hard, dsa, mlp"),
    )
    found = standard_scores(result)
    assert found == {
        "lrs": pytest.approx(mapped(0.5 * 0.20 - 0.5 * 0.30)),
        "ars": pytest.approx(mapped(0.5 * 0.14 + 0.5 * 0.10)),
    }
    without = standard_scores(replace(result, frame=result.frame[result.frame["row"] != "random"]))
    assert isnan(without["lrs"])
    assert isnan(without["ars"])


def test_the_command_writes_table_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "EPOCHS", 2)  # of the set's own protocol
    provenance = {"settings": {"network": "mlp"}}  # the fastest in its own protocol
    path = saved(load_condensed("digits-1"), tmp_path / "mine.safetensors", provenance=provenance)
    options = "--networks mlp --augmentations none dsa --coresets --random-sets 1 --repeats 1 --epochs 2"
    words = [
        "evaluate",
        str(path),
        "--on",
        "digits",
        "--standard",
        "--out",
        str(tmp_path / "out"),
        "--jobs",
        "1",
    ]
    assert main([*words, *options.split(), "--full-epochs", "1"]) == 0
    said = capsys.readouterr().out
    assert "LRS: 0." in said
    page = (tmp_path / "out" / "standard-mine.md").read_text(encoding="utf-8")
    assert "| random |" in page
    assert "ARS: 0." in page
    assert f"evaluate {path} --on digits --standard" in page
