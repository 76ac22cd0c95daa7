"""The public surface is small, listed and sorted."""

import datacondense


def test_public_names_are_sorted_and_exist() -> None:
    assert datacondense.__all__ == sorted(datacondense.__all__)
    assert all(hasattr(datacondense, name) for name in datacondense.__all__)


def test_nothing_else_looks_public() -> None:
    modules = {
        "allocator",
        "augment",
        "cache",
        "cli",
        "condensation",
        "data",
        "environment",
        "errors",
        "evaluation",
    }
    modules |= {
        "files",
        "image_set",
        "kernels",
        "lazy",
        "matching",
        "networks",
        "random",
        "renamed",
        "reports",
    }
    modules |= {"selection", "studies", "tensor_files", "training"}
    loading = {"TYPE_CHECKING", "lazy_names"}
    visible = {name for name in vars(datacondense) if not name.startswith("_")}
    assert visible - modules - loading <= set(datacondense.__all__)
    assert dir(datacondense) == datacondense.__all__
