"""The attention written for processors: the definition's values and gradients, for every way it can be asked."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from core.engine import attention  # noqa: E402
from core.engine.kernels import block_attention as kernel  # noqa: E402
from core.engine.loss import make_loss_head  # noqa: E402
from core.engine.passes import make_pass  # noqa: E402
from tests.core.engine import families  # noqa: E402
from tests.core.engine.test_engine_passes_and_loss import CPU, gradients, rows  # noqa: E402

pytestmark = pytest.mark.torch
Attend = Callable[..., "torch.Tensor"]


def one_by_one(query, key, value, bounds, scaling):
    """PyTorch's own attention on each document by itself."""
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], is_causal=True, scale=scaling, enable_gqa=True
        )
        for a, b in pairwise(bounds)
    ]
    return torch.cat(parts, 2).transpose(1, 2)


def results(attend: Attend, heads: int, shared: int, bounds: tuple[int, ...], scaling: float | None, dtype):
    made = torch.Generator().manual_seed(3)

    def states(count: int):
        drawn = torch.randn(1, bounds[-1], count, 8, generator=made, dtype=torch.float64)
        return drawn.to(dtype).transpose(1, 2).requires_grad_()

    inputs = states(heads), states(shared), states(shared)
    given = torch.randn(1, bounds[-1], heads, 8, generator=made, dtype=torch.float64).to(dtype)
    found = attend(*inputs, bounds, scaling)
    return [found, *torch.autograd.grad(found, inputs, given)]


@pytest.mark.parametrize("scaling", [None, 0.7])
@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("bounds", [(0, 1), (0, 5), (0, 1, 9, 12, 33), (0, 21, 22, 38)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_and_gradients_are_those_of_the_definition(
    monkeypatch: pytest.MonkeyPatch, dtype: str, bounds: tuple[int, ...], heads: int, shared: int, scaling: float | None
) -> None:
    monkeypatch.setattr(kernel, "BLOCK_ROWS", 8)  # several blocks a document
    narrow = getattr(torch, dtype)
    truth = results(one_by_one, heads, shared, bounds, scaling, torch.float32)
    found = results(kernel.block_attention, heads, shared, bounds, scaling, narrow)
    for mine, exact in zip(found, truth, strict=True):
        assert mine.dtype == narrow
        assert (mine.float() - exact).norm() <= (1e-6 if dtype == "float32" else 1e-2) * exact.norm() + 1e-6


@pytest.mark.parametrize("name", families.NAMES)
def test_models_learn_the_same_with_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In bfloat16, against the same model with each document's scores written out in full."""
    some = rows(11, 5, 14, 3)
    asked: list[bool] = []
    fits = attention._blocks_fit

    def noted(*given: Any) -> bool:
        asked.append(fits(*given))
        return asked[-1]

    monkeypatch.setattr(attention, "_blocks_fit", noted)
    model = families.build(name).bfloat16().train()
    _, found = gradients(model, make_loss_head(model), [make_pass(some, CPU)])
    assert all(asked) == ("window" not in name and name != "gemma3")
    plain = families.build(name, kernel="eager").bfloat16().train()
    _, rounded = gradients(plain, make_loss_head(plain), [make_pass(some, CPU)])
    exact_model = families.build(name, kernel="eager").train()
    _, exact = gradients(exact_model, make_loss_head(exact_model), [make_pass(some, CPU)])
    error, usual = (found.float() - exact).norm(), (rounded.float() - exact).norm()
    assert error < 1.5 * usual, f"{name}: {error / exact.norm():.1e} against {usual / exact.norm():.1e}"


def test_a_document_as_long_as_the_window_is_seen_whole_and_a_longer_one_is_left_to_others() -> None:
    scoring = attention.Scoring(None, 0.0, 6, None)
    held = attention.Documents.of_lengths((6, 2), CPU)
    states = torch.zeros(1, 2, 8, 4, dtype=torch.bfloat16)
    assert attention._blocks_fit(states, states, held, scoring)
    longer = attention.Documents.of_lengths((7, 1), CPU)
    assert not attention._blocks_fit(states, states, longer, scoring)
    assert not attention._blocks_fit(states.float(), states.float(), held, scoring)
