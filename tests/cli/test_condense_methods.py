"""`condense --method`: each method runs, tells its own options, and refuses those of others."""

from pathlib import Path

import pytest

from datacondense.cli.condense import Condense, condense_command
from datacondense.cli.main import main
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.registry import METHODS, method_named
from datacondense.image_set import ImageSet

TINY = [
    "--budget",
    "published",
    "--network",
    "convnet-w4-d1",
    "--iterations",
    "2",
    "--real-batch",
    "4",
    "--threads",
    "1",
    "--device",
    "cpu",
]
FULL = {
    "dc": "gradient-matching",
    "dsa": "siamese-matching",
    "dm": "distribution-matching",
    "dd": "dataset-distillation",
    "parameter-matching": "parameter-matching",
}
OWN = {
    "gradient-matching": {"--matching-steps", "--network-epochs", "--distance", "--class-collective"},
    "distribution-matching": {"--siamese", "--image-momentum"},
    "parameter-matching": {"--real-steps", "--inner-lr", "--inner-steps"},
    "dataset-distillation": {"--step-lr", "--images-per-step", "--fixed-network", "--halve-every"},
}


def condense(tmp_path: Path, *options: str) -> int:
    return main(["condense", "digits", "--out", str(tmp_path / "run"), *TINY, *options])


def said_by_help(capsys: pytest.CaptureFixture[str], *options: str) -> set[str]:
    """List the options that the help names."""
    assert main(["condense", *options, "--help"]) == 0
    words = capsys.readouterr().out.replace("│", " ").replace(",", " ").split()
    return {word for word in words if word.startswith("--")}


@pytest.mark.parametrize("name", FULL)
def test_each_method_learns_a_set(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert condense(tmp_path, "--method", name) == 0
    assert capsys.readouterr().out.startswith("10 images (1 for each of 10 classes) after 2 iterations and ")
    images = ImageSet.load(tmp_path / "run" / "condensed.safetensors")
    # Siamese matching is gradient matching at other settings.
    expected = "gradient-matching" if name == "dsa" else FULL[name]
    assert images.provenance["method"] == expected
    assert images.provenance["settings"]["network"] == "convnet-w4-d1"
    assert (name in {"dsa", "dm"}) == (images.provenance["settings"].get("siamese", "none") != "none")


def test_the_method_may_follow_an_equals_sign_or_be_spelled_out(tmp_path: Path) -> None:
    fingerprints = set()
    for number, words in enumerate((
        ["--method=dm"],
        ["--method", "dm"],
        ["--method", "distribution-matching"],
    )):
        assert condense(tmp_path / str(number), *words, "--quiet") == 0
        fingerprints.add(ImageSet.load(tmp_path / str(number) / "run" / "condensed.safetensors").fingerprint)
    assert len(fingerprints) == 1


def test_without_a_method_gradients_are_matched(tmp_path: Path) -> None:
    fingerprints = set()
    for number, words in enumerate(([], ["--method", "dc"])):
        assert condense(tmp_path / str(number), *words, "--quiet") == 0
        fingerprints.add(ImageSet.load(tmp_path / str(number) / "run" / "condensed.safetensors").fingerprint)
    assert len(fingerprints) == 1


def test_a_method_goes_on_only_as_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert condense(tmp_path, "--method", "dm", "--quiet") == 0
    assert condense(tmp_path, "--method", "dm", "--resume") == 0
    assert condense(tmp_path, "--method", "parameter-matching", "--resume") == 2
    said = capsys.readouterr().err
    assert "distribution-matching" in said
    assert "parameter-matching" in said


@pytest.mark.parametrize("words", [["--method", "foo"], ["--method=foo"]])
def test_an_unknown_method_is_named(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert condense(tmp_path, *words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "datacondense: There is no method 'foo': choose from gradient-matching (dc), siamese-matching (dsa), idc, "
        "distribution-matching (dm), parameter-matching, dataset-distillation (dd), or give "
        "package.module:Class.\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_method_that_is_left_out_after_its_option_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert condense(tmp_path, "--method") == 2
    assert "There is no method ''" in capsys.readouterr().err


@pytest.mark.parametrize("name", OWN)
def test_help_names_the_options_of_the_method_alone(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = said_by_help(capsys, "--method", name)
    assert found >= OWN[name] | {"--ipc", "--network", "--real-batch", "--iterations", "--method", "--resume"}
    shared = {"--siamese", "--image-momentum"}  # also options of gradient matching
    others = {option for other, options in OWN.items() if other != name for option in options} - shared
    assert not found & (others - OWN[name])


def test_help_without_a_method_is_that_of_gradient_matching(capsys: pytest.CaptureFixture[str]) -> None:
    assert said_by_help(capsys) == said_by_help(capsys, "--method", "dc")


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("dm", ["--matching-steps", "2"]),
        ("dm", ["--step-lr", "0.1"]),
        ("dd", ["--siamese", "dsa"]),
        ("dd", ["--image-momentum", "0.5"]),
        ("parameter-matching", ["--distance", "squared"]),
        ("dc", ["--inner-steps", "3"]),
    ],
)
def test_an_option_of_another_method_is_refused(
    method: str, option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        condense(tmp_path, "--method", method, *option)
    assert stop.value.code == 2
    assert option[0] in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_value_that_a_method_refuses_gets_its_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--method", "dd", "--ipc", "3", "--images-per-step", "2"]
    assert condense(tmp_path, *options) == 2
    assert capsys.readouterr().err == (
        "datacondense: ipc is 3, but must be a multiple of images_per_step, which is 2: give such as --ipc 4.\n"
    )


def test_other_arguments_do_not_name_a_method() -> None:
    # An abbreviation of the option, or its value elsewhere, is none.
    for args in (["digits"], ["--meth", "dm"], ["dm", "--out", "dd"]):
        assert condense_command(["condense", *args]).__orig_bases__ == (Condense[GradientMatchingConfig],)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["MLP", "Mlp", "mlp"])
@pytest.mark.parametrize("method", METHODS)
def test_a_network_is_the_same_however_its_name_is_written(method: str, name: str) -> None:
    settings = method_named(method)
    assert settings(network=name).resolved() == settings(network="mlp").resolved()
    assert settings(network="ConvNet-D3-IN").resolved() == settings(network="convnet").resolved()


def test_the_published_rate_of_an_mlp_is_its_own(tmp_path: Path) -> None:
    command = ["condense", "digits", "--out", str(tmp_path / "run"), *TINY, "--iterations", "1"]
    assert main([*command, "--network", "MLP", "--quiet"]) == 0
    settings = ImageSet.load(tmp_path / "run" / "condensed.safetensors").provenance["settings"]
    assert (settings["network"], settings["image_lr"]) == ("mlp", 0.01)
