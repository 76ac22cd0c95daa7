"""Condense labelled image data sets: from tens of thousands of images to a few synthetic ones per class.

The public names are those of `__init__.pyi`; each loads its module on first use, so that importing the package loads
nothing else.
"""

import lazy_loader as _lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)
