"""Tests that processes share out by their ids have the same ids, in the same order, in every process."""

from typing import Any

import pytest

from tests import conftest


@pytest.mark.parametrize(
    "ident", ["test[<object at 0x7f0000001000>]", "test[f-<lambda>]"], ids=["address", "lambda"]
)
def test_an_id_that_differs_between_processes_is_refused(ident: str) -> None:
    class Item:
        nodeid = ident

    items: Any = [Item]
    with pytest.raises(pytest.UsageError, match="an address or a lambda in its id: give ids="):
        conftest.pytest_collection_modifyitems(items)


def test_a_size_in_an_id_is_accepted() -> None:
    class Item:
        nodeid = "test[70x130]"

    items: Any = [Item]
    conftest.pytest_collection_modifyitems(items)
    assert items == [Item]


@pytest.mark.parametrize(
    "values", [{"a", "b"}, frozenset("ab"), {"a": 1}.keys() - {"b"}], ids=["set", "frozen", "keys"]
)
@pytest.mark.parametrize("named", [False, True])
def test_values_without_an_order_are_refused(values: Any, named: bool) -> None:
    mark = pytest.mark.parametrize("x", argvalues=values) if named else pytest.mark.parametrize("x", values)

    class Definition:
        nodeid = "test_it"

        @staticmethod
        def iter_markers(name: str) -> list[pytest.Mark]:
            assert name == "parametrize"
            return [mark.mark]

    class Metafunc:
        definition = Definition

    metafunc: Any = Metafunc
    with pytest.raises(pytest.UsageError, match="test_it is parametrized by a set: sort it"):
        conftest.pytest_generate_tests(metafunc)
