"""Short names and their specs."""

from typing import Any, get_args

import pytest

from datacondense.errors import InputError
from datacondense.networks.names import (
    Activation,
    AlexCifarNetSpec,
    AlexNetSpec,
    ConvNetSpec,
    CustomSpec,
    LeNetSpec,
    MLPSpec,
    NetworkSpec,
    Norm,
    Pooling,
    ResNetSpec,
    VGGSpec,
    canonical_name,
    evaluation_name,
    parse_name,
    usual_network,
    varied,
)


def test_every_setting_of_a_convnet_is_read() -> None:
    spec = parse_name("convnet-w64-d2-leaky-bn-max")
    assert spec == ConvNetSpec(width=64, depth=2, activation="leaky", norm="batch", pooling="max")


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("convnet", "convnet"),
        ("convnet-max-bn-leaky-d2-w64", "convnet-w64-d2-leaky-bn-max"),
        ("convnet-w128-d3-relu-in-avg", "convnet"),
        ("convnet-w064", "convnet-w64"),
        ("ConvNet-BN", "convnet-bn"),
        ("convnet-nonorm-nopool", "convnet-nonorm-nopool"),
        ("alexnet-nonorm", "alexnet"),
        ("vgg11-in", "vgg11"),
        ("resnet18-ap-bn", "resnet18-bn-ap"),
        ("package.nets:Small", "package.nets:Small"),
    ],
)
def test_names_have_one_canonical_form(name: str, canonical: str) -> None:
    assert canonical_name(parse_name(name)) == canonical


CONVNETS = [
    ConvNetSpec(width=width, depth=depth, activation=activation, norm=norm, pooling=pooling)
    for width in (4, 128, 200)
    for depth in (1, 3)
    for activation in get_args(Activation)
    for norm in get_args(Norm)
    for pooling in get_args(Pooling)
]
OTHERS: list[NetworkSpec] = [
    MLPSpec(),
    LeNetSpec(),
    AlexCifarNetSpec(),
    AlexNetSpec(),
    AlexNetSpec(norm="batch"),
    AlexNetSpec(norm="instance"),
    VGGSpec(),
    VGGSpec(norm="batch"),
    ResNetSpec(),
    ResNetSpec(norm="batch"),
    ResNetSpec(downsampling="average"),
    ResNetSpec(norm="batch", downsampling="average"),
    CustomSpec(name="a.b:c"),
]


def test_every_spec_is_read_back_from_its_name() -> None:
    specs: list[NetworkSpec] = [*CONVNETS, *OTHERS]
    names = [canonical_name(spec) for spec in specs]
    assert len(set(names)) == len(names) == 3 * 2 * 4 * 5 * 3 + 13
    assert [parse_name(name) for name in names] == specs
    for name in names:
        family, *tokens = name.split("-")
        assert canonical_name(parse_name("-".join([family, *reversed(tokens)]))) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "densenet",
            "no network 'densenet': choose one of convnet, mlp, lenet, alexnet, alexcifarnet, vgg11, resnet18",
        ),
        ("", "no network ''"),
        ("convnet64", "no network 'convnet64'"),
        (
            "convnet-gelu",
            "unknown token 'gelu': choose from w<width>, d<depth>, sigmoid, relu, leaky, swish, nonorm, bn, ln, in, "
            "gn, nopool, max, avg",
        ),
        ("convnet-", "unknown token ''"),
        ("convnet-w", "unknown token 'w'"),
        ("convnet-w-4", "unknown token 'w'"),
        ("convnet-w6.5", r"unknown token 'w6\.5'"),
        ("convnet-w9999999", "unknown token 'w9999999'"),
        ("convnet-ap", "unknown token 'ap'"),
        ("mlp-bn", "unknown token 'bn': mlp has no tokens, so write just mlp"),
        ("mlp-w64", "unknown token 'w64'"),
        ("alexnet-gn", "unknown token 'gn': choose from nonorm, bn, in"),
        ("vgg11-nonorm", "unknown token 'nonorm': choose from bn, in"),
        ("resnet18-max", "unknown token 'max': choose from bn, in, ap"),
        ("convnet-w64-w32", "sets the width twice, by 'w64' and 'w32': keep one"),
        ("convnet-w64-w64", "sets the width twice"),
        ("convnet-relu-swish", "sets the activation twice, by 'relu' and 'swish'"),
        ("convnet-bn-in", "sets the norm twice, by 'bn' and 'in'"),
        ("convnet-max-nopool", "sets the pooling twice, by 'max' and 'nopool'"),
        ("resnet18-ap-ap", "sets the downsampling twice"),
        ("convnet-w0", "width 0 and depth 3 has no layers, but both must be at least 1"),
        ("convnet-d0", "width 128 and depth 0 has no layers"),
        ("convnet-w30-gn", "width 30 cannot have group normalisation.*4 divides, such as -w32"),
        ("nets:", "'nets:' does not name a network of your own: write package.module:callable"),
        (":small", "':small' does not name"),
        ("nets:small:2", "'nets:small:2' does not name"),
        ("my-nets:small", "'my-nets:small' does not name"),
        (".nets:small", "'.nets:small' does not name"),
    ],
)
def test_wrong_names_are_refused_with_the_choices(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_name(name)


@pytest.mark.parametrize(
    ("name", "scored"),
    [
        ("convnet-bn", "convnet"),
        ("convnet-bn-w64-swish", "convnet-w64-swish"),
        ("convnet-gn", "convnet-gn"),
        ("convnet-nonorm", "convnet-nonorm"),
        ("vgg11-bn", "vgg11"),
        ("resnet18-bn-ap", "resnet18-ap"),
        ("resnet18-bn", "resnet18"),
        ("alexnet-bn", "alexnet-in"),
        ("alexnet", "alexnet"),
        ("mlp", "mlp"),
        ("package.nets:with_bn", "package.nets:with_bn"),
    ],
)
def test_scoring_replaces_batch_by_instance_normalisation(name: str, scored: str) -> None:
    assert evaluation_name(name) == scored


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("convnet", {"activation": "leaky"}, "convnet-leaky"),
        ("convnet-max-d2", {"pooling": "average"}, "convnet-d2"),
        ("ConvNet-bn-w64", {"depth": 1, "width": 128}, "convnet-d1-bn"),
        ("convnet", {}, "convnet"),
        ("convnet-w30", {"width": 32, "norm": "group"}, "convnet-w32-gn"),
        ("alexnet", {"norm": "batch"}, "alexnet-bn"),
        ("resnet18-bn", {"downsampling": "average"}, "resnet18-bn-ap"),
    ],
)
def test_one_setting_of_a_network_is_varied(name: str, changes: dict[str, Any], expected: str) -> None:
    assert varied(name, **changes) == expected


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "mlp",
            {"activation": "relu"},
            "mlp has no activation to vary: give a network that has, such as convnet",
        ),
        ("vgg11-bn", {"depth": 2}, "vgg11-bn has no depth to vary"),
        ("nets:small", {"module": "other"}, "nets:small has no module to vary"),
        ("convnot", {"depth": 2}, "no network 'convnot'"),
        ("convnet", {"depth": 0}, "width 128 and depth 0 has no layers"),
        ("convnet-gn", {"width": 30}, "width 30 cannot have group normalisation"),
        ("convnet", {"width": 9999999}, "width 9999999 and depth 3 is larger than can be meant"),
    ],
)
def test_variations_that_a_family_lacks_are_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        varied(name, **changes)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("convnet", {"activation": "gelu"}),
        ("vgg11", {"norm": "none"}),
        ("alexnet", {"norm": "layer"}),
        ("resnet18", {"norm": "group"}),
    ],
)
def test_values_that_a_family_lacks_are_refused(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=name):
        varied(name, **changes)


@pytest.mark.parametrize(
    ("side", "name"),
    [
        (8, "convnet"),
        (28, "convnet"),
        (32, "convnet"),
        (63, "convnet"),
        (64, "convnet-d4"),
        (96, "convnet-d4"),
        (128, "convnet-d5"),
        (224, "convnet-d5"),
        (256, "convnet-d6"),
    ],
)
def test_the_usual_network_is_as_deep_as_images_are_large(side: int, name: str) -> None:
    assert usual_network((3, side, side + 5)) == usual_network((1, side + 5, side)) == name
