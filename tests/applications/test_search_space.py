"""The architectures of a search: the paper's 720, parts of them, and lists of the user's own."""

from pathlib import Path

import pytest

from datacondense.applications.search_space import SearchSpace, name_of_settings, read_space
from datacondense.errors import InputError
from datacondense.networks.builder import build_network
from datacondense.networks.names import ConvNetSpec, parse_name

TOML = """
widths = [8, 16]
norms = ["none", "batch"]
"""


def test_the_published_space_has_720_different_networks_that_can_be_built() -> None:
    networks = list(SearchSpace().architectures)
    assert len(networks) == len(set(networks)) == 4 * 4 * 5 * 3 * 3
    for name in networks:
        assert build_network(name, (3, 32, 32), 10).name == name


def test_settings_and_names_are_of_the_same_network() -> None:
    for name, settings in SearchSpace(widths=(64,), depths=(2, 3)).architectures.items():
        assert parse_name(name) == ConvNetSpec(**settings)  # type: ignore[arg-type]
        assert name_of_settings(settings) == name


def test_the_grid_keeps_the_order_of_its_values() -> None:
    space = SearchSpace(
        widths=(16, 8), depths=(1,), norms=("none",), activations=("relu",), poolings=("max",)
    )
    assert list(space.architectures) == ["convnet-w16-d1-nonorm-max", "convnet-w8-d1-nonorm-max"]


def test_choices_are_the_values_of_each_setting() -> None:
    assert SearchSpace(widths=(8,), activations=("relu", "swish")).choices == {
        "width": (8,),
        "depth": (1, 2, 3, 4),
        "norm": ("none", "batch", "layer", "instance", "group"),
        "activation": ("relu", "swish"),
        "pooling": ("none", "max", "average"),
    }
    assert SearchSpace(networks=("mlp", "ConvNet-d2-w128")).choices == {"network": ("mlp", "convnet-d2")}


def test_a_list_of_networks_replaces_the_grid() -> None:
    space = SearchSpace(networks=("mlp", "ConvNet-d2-w128"))
    assert space.architectures == {"mlp": {"network": "mlp"}, "convnet-d2": {"network": "convnet-d2"}}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"networks": ("mlp", "nonsense")}, "There is no network 'nonsense': choose one of convnet"),
        ({"networks": ("convnet", "convnet-d3")}, "The network convnet is in the search twice"),
        ({"networks": ("mlp",)}, r"The search has 1 network\(s\), but needs at least 2"),
        ({"widths": ()}, r"The search has 0 network\(s\), but needs at least 2"),
        ({"widths": (8, 8)}, "is in the search twice: give each value and name once"),
        ({"widths": (6, 8)}, "cannot have group normalisation"),
        ({"norms": ("weight",)}, "cannot have the norm 'weight': choose from none, batch"),
    ],
)
def test_wrong_networks_are_refused_at_once(wrong: dict[str, tuple[str, ...]], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SearchSpace(**wrong)  # type: ignore[arg-type]


def test_networks_that_do_not_fit_the_images_are_refused() -> None:
    space = SearchSpace(depths=(1, 4))
    space.check((1, 28, 28), 10)
    with pytest.raises(InputError, match=r"convnet-w32-d4\S* .* 8x8"):
        space.check((1, 8, 8), 10)


def test_a_file_may_leave_values_out(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(TOML, encoding="utf-8")
    assert read_space(path) == SearchSpace(widths=(8, 16), norms=("none", "batch"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("width = [8]", "has the unknown key 'width': choose from widths, depths"),
        ('widths = ["8"]', r"has widths = \['8'\], but it must be a list of whole numbers"),
        ("norms = 'none'", "has norms = 'none', but it must be a list of names"),
        ("widths = [", "is not TOML|cannot be read|correct it"),
        ('networks = ["mlp", "evil:net"]', "names evil:net, code that is not part of datacondense"),
    ],
)
def test_wrong_files_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_space(path)
    with pytest.raises(InputError, match="There is no search space"):
        read_space(tmp_path / "none.toml")


def test_a_trusted_file_may_name_a_network_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text('networks = ["mlp", "mine:net"]', encoding="utf-8")
    assert list(read_space(path, trust_code=True).architectures) == ["mlp", "mine:net"]
