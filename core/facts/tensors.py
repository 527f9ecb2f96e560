"""What a weight file says about one tensor, whichever format the file has."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tensor:
    """One stored tensor.

    Attributes:
        shape: sizes in torch's order, slowest first; empty for a single number.
        dtype: the format's own word: "BF16", "F32", "Q4_1".
        bytes: how much of the file it takes.
        file: name of the file, relative to the model's folder.
        offset: where its bytes start in that file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    file: str = ""
    offset: int = 0

    @property
    def elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)
