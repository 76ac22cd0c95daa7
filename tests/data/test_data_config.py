import pytest

from datacondense.data.config import DataConfig
from datacondense.errors import InputError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resize": 0}, "resize is 0, but must be 1 or more"),
        ({"channels": 2}, r"channels is 2, but must be 1 \(grey\) or 3"),
        ({"image_column": "x", "label_column": "x"}, "column 'x' is named for both images and labels"),
        ({"train_split": "a", "test_split": "a"}, "split 'a' is named for both training and testing"),
        (
            {"train_split": "Test", "test_split": "test"},
            "split 'Test' is named for both training and testing",
        ),
    ],
)
def test_fields_are_checked_when_built(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DataConfig(**fields)  # type: ignore[arg-type]


def test_equal_fields_make_equal_configs() -> None:
    assert DataConfig(resize=32) == DataConfig(resize=32)
    assert DataConfig(resize=32, channels=3).channels == 3
