"""Load mutated source instead of one module.

Python imports this file at start if its folder is on PYTHONPATH. ``MUTANT_FILE`` is the absolute
path of the module, ``MUTANT_SOURCE`` the file with its mutated source.
"""

import importlib.machinery
import os
from pathlib import Path
from types import CodeType
from typing import Any

_file, _mutant = os.environ.get("MUTANT_FILE"), os.environ.get("MUTANT_SOURCE")
_loader: Any = importlib.machinery.SourceFileLoader
_get_code = _loader.get_code


def _mutated_code(loader: Any, fullname: str) -> CodeType | None:
    path = loader.get_filename(fullname)
    if _mutant and os.path.realpath(path) == _file:
        return compile(Path(_mutant).read_text("utf-8"), path, "exec", dont_inherit=True)
    code: CodeType | None = _get_code(loader, fullname)
    return code


if _file and _mutant:
    _loader.get_code = _mutated_code
