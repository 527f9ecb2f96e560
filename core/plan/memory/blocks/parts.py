"""Parts that the blocks of most families share: linear layers with adapters, norms, rotary embeddings, attention."""

from collections.abc import Callable
from dataclasses import dataclass

from core.plan.memory.blocks.attention import attended
from core.plan.memory.blocks.linear import linear
from core.plan.memory.blocks.structure import Structure
from core.plan.memory.ledger import Grads, Node, Tape, Tensor
from core.plan.memory.operations import (
    FP32,
    ROW,
    activated,
    added,
    averaged,
    convert,
    copied,
    dropped,
    leaf,
    multiplied,
    over_root,
    powered,
    times_constant,
)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that is being written down: the tape and its structure."""

    tape: Tape
    form: Structure

    def parameter(self, width: str) -> Node | None:
        """A weight outside the linear layers: learns only in full fine-tuning."""
        return leaf(self.tape, width, self.form.size) if self.form.full else None

    def convert(self, x: Tensor, size: int) -> Tensor:
        """``x.to(dtype)``."""
        return convert(self.tape, x, size)

    def linear(self, x: Tensor, name: str, out: str) -> Tensor:
        """A linear layer, with its adapter where it has one."""
        return linear(self.tape, self.form, x, name, out)

    def dropped(self, x: Tensor) -> Tensor:
        """The model's own dropout on what a layer adds."""
        return dropped(self.tape, x, active=self.form.residual_dropout)

    def added(self, a: Tensor, b: Tensor) -> Tensor:
        """``a + b``."""
        return added(self.tape, a, b)

    def rms_norm(self, x: Tensor, width: str = "hidden", rows: str = ROW) -> Tensor:
        """Llama's norm: the input and its normalised copy in fp32 (modeling_llama.py, LlamaRMSNorm)."""
        if self.form.fused_norms:
            return self.fused_norm(x, rows)
        size = x.bytes
        normal = self.normalised(x, rows)
        narrow = convert(self.tape, normal, size)
        result = self.times_weight(narrow, width)
        del normal
        return result

    def fused_norm(self, x: Tensor, rows: str) -> Tensor:
        """`core.engine.kernels.rms_norm`: keeps its input and a number a mean; both directions work in fp32."""
        tape, size = self.tape, x.bytes
        over, width = x.rows, x.width
        factor = tape.buffer(over, rows, FP32)
        wide = tape.buffer(over, width, FP32)
        y = tape.tensor(over, width, size)
        del wide

        def gradient(_: Grads) -> Grads:
            both = [tape.buffer(over, width, FP32), tape.buffer(over, width, FP32)]
            given = tape.buffer(over, width, size)
            both.clear()
            return [given]

        y.node = tape.node(gradient, x, saved=(x.buffer, factor))
        return y

    def normalised(self, x: Tensor, rows: str) -> Tensor:
        """``x * rsqrt(mean(x**2) + eps)`` in fp32; ``rows`` is how many means there are for each token."""
        tape = self.tape
        wide = convert(tape, x, FP32)
        return over_root(tape, wide, averaged(tape, powered(tape, wide), rows))

    def times_weight(self, x: Tensor, width: str) -> Tensor:
        """``weight * x`` with one number for each column."""
        tape = self.tape
        weight = self.parameter(width)
        rows, across, size, wants = x.rows, x.width, x.bytes, x.node is not None

        def gradient(_: Grads) -> Grads:
            whole = tape.buffer(rows, across, size) if weight is not None else None
            given = tape.buffer(rows, across, size) if wants else None
            made = tape.buffer("one", width, size) if weight is not None else None
            del whole
            return [made, given]

        saved = ((x.buffer,) if weight is not None else ()) + ((tape.constant,) if wants else ())
        return tape.tensor(rows, across, size, tape.node(gradient, weight, x, saved=saved))

    def rotated(self, x: Tensor, half: str) -> Tensor:
        """``x * cos + rotate_half(x) * sin`` (modeling_llama.py, apply_rotary_pos_emb); ``half`` is half its width."""
        tape = self.tape
        rows, width, size = x.rows, x.width, x.bytes
        straight = times_constant(tape, x)
        # Two slices, whose gradients are as large as the whole; one half negated; both joined again.
        first = x.view(tape.node(lambda _: [tape.buffer(rows, width, size)], x))
        second = x.view(tape.node(lambda _: [tape.buffer(rows, width, size)], x))
        negative = tape.tensor(rows, half, size)
        negative.node = tape.node(lambda _: [tape.buffer(rows, half, size)], second)
        turned = tape.tensor(rows, width, size)
        turned.node = tape.node(lambda grads: [grads[0], grads[0]], negative, first)
        del negative, first, second
        crossed = times_constant(tape, turned)
        del turned
        return added(tape, straight, crossed)

    def attention(self, query: Tensor, key: Tensor, value: Tensor, *, loose: str = "", by_head: bool = False) -> Tensor:
        """Attention by document with the kernel of the setting.

        Args:
            query: (tokens, query); ``key`` and ``value`` likewise.
            key: see above.
            value: see above.
            loose: which of "qkv" do not lie token by token, so that one call for all documents copies them.
            by_head: the queries lie head by head; flash attention's result for a single document lies as they do, and
                has to be copied.
        """
        if self.form.kernel == "varlen" and loose:
            # The copies are arguments of the kernel alone; the originals stay variables of the caller.
            copies = [
                copied(self.tape, x) if name in loose else x for name, x in zip("qkv", (query, key, value), strict=True)
            ]
            return attended(self.tape, self.form, *copies)
        result = attended(self.tape, self.form, query, key, value)
        alone = not (self.form.before or self.form.after)
        return copied(self.tape, result) if by_head and alone and self.form.kernel == "flash" else result

    def plain(self, x: Tensor, first: str, second: str, activation: Callable[[Tape, Tensor], Tensor]) -> Tensor:
        """``second(activation(first(x)))``, each a new value of one variable."""
        x = self.linear(x, first, "wide")
        x = activation(self.tape, x)
        return self.linear(x, second, "hidden")

    def gated(self, x: Tensor) -> Tensor:
        """``down(silu(gate(x)) * up(x))`` (modeling_llama.py, LlamaMLP)."""
        return self.linear(self._gate_times_up(x), "down_proj", "hidden")

    def _gate_times_up(self, x: Tensor) -> Tensor:
        return multiplied(
            self.tape, activated(self.tape, self.linear(x, "gate_proj", "wide")), self.linear(x, "up_proj", "wide")
        )
