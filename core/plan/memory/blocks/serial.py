"""A layer that adds attention to what came in, and then its MLP: the shape of most families."""

from collections.abc import Callable

from core.plan.memory.blocks.parts import Layer
from core.plan.memory.ledger import Tensor

Part = Callable[[Layer, Tensor], Tensor]
Join = Callable[[Layer, Tensor, Tensor], Tensor]


def serial(
    attend: Part, feed: Part, *, before: Part | None = None, after: Part | None = None, join: Join = Layer.added
) -> Part:
    """The block of these parts, with the variables that their forward functions have.

    Args:
        attend: the attention.
        feed: the MLP.
        before: the norm of what goes into each.
        after: the norm of what comes out of each.
        join: how that is added to the residual stream.
    """

    def block(layer: Layer, x: Tensor) -> Tensor:
        for part in (attend, feed):
            residual = x
            if before is not None:
                x = before(layer, x)
            x = part(layer, x)
            if after is not None:
                x = after(layer, x)
            x = join(layer, residual, x)
        return x

    return block
