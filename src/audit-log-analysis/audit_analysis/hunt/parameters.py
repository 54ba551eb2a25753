"""The parameters of statements of DuckDB. Pure."""

from typing import Any


class Parameters(dict[str, Any]):
    """The values of parameters by their names, which begin with a prefix."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def add(self, value: Any) -> str:
        """The parameter of a value in the text of a statement. Equal values have one parameter."""
        for name, known in self.items():
            if known == value:
                return f"${name}"
        name = f"{self._prefix}{len(self)}"
        self[name] = value
        return f"${name}"
