"""Every reader."""

from tests.fuzz import (
    array_readers,
    command_readers,
    picture_readers,
    published_readers,
    store_readers,
    tensor_readers,
    text_readers,
)

_KINDS = (
    tensor_readers,
    array_readers,
    picture_readers,
    text_readers,
    published_readers,
    store_readers,
    command_readers,
)

READERS = {reader.name: reader for kind in _KINDS for reader in kind.READERS}
