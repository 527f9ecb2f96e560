"""Packed rows never see each other, the chunked loss head is the model's own, and normalisation is by tokens."""

import pytest

torch = pytest.importorskip("torch")

from core.data.types import Encoded  # noqa: E402
from core.engine import attention, loss  # noqa: E402
from core.engine.attention import Documents, documents  # noqa: E402
from core.engine.loss import LogitShape, make_loss_head  # noqa: E402
from core.engine.passes import make_pass, make_passes  # noqa: E402
from tests.core.engine import families  # noqa: E402

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")


def rows(*lengths: int, seed: int = 0) -> list[Encoded]:
    made = torch.Generator().manual_seed(seed)
    result = []
    for length in lengths:
        tokens = tuple(torch.randint(3, 128, (length,), generator=made).tolist())
        trained = (False, *(index % 3 != 0 for index in range(1, length)))
        result.append(Encoded(tokens, trained))
    return result


def gradients(model, head, passes) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    total = 0.0
    for one in passes:
        with documents(one.documents):
            summed = head.summed(one)
            summed.backward()
        total += float(summed.detach())
    flat = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return total, torch.cat(flat)


def reference(model, some_rows) -> tuple[float, torch.Tensor]:
    """Row by row, the model's own logits, cross-entropy by hand."""
    model.zero_grad()
    total = torch.zeros(())
    for row in some_rows:
        ids = torch.tensor(row.tokens)[None]
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        keep = torch.tensor(row.trained[1:])
        total = total + torch.nn.functional.cross_entropy(logits[keep], ids[0, 1:][keep], reduction="sum")
    total.backward()
    return float(total.detach()), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("lengths", [(14,), (11, 5, 14)])
def test_key_heads_of_their_own_change_no_number(lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """As on GPUs without flash attention, whose fused kernel wants a key head for each query head."""
    model = families.build("llama", kernel="sdpa").train()
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    one = make_pass(rows(*lengths), CPU)
    shared_loss, shared = gradients(model, make_loss_head(model), [one])
    asked: list[bool] = []
    monkeypatch.setattr(attention, "_shares_heads", lambda *_: asked.append(True))
    own_loss, own = gradients(model, make_loss_head(model), [one])
    assert asked
    assert own_loss == pytest.approx(shared_loss, rel=1e-6)
    torch.testing.assert_close(own, shared, rtol=1e-4, atol=1e-5)  # groups are summed in another order


@pytest.mark.parametrize("name", families.NAMES)
def test_packing_equals_row_by_row_with_the_models_own_head_and_mask(name: str) -> None:
    some = rows(11, 5, 14, 3)
    model = families.build(name).train()
    loss_packed, grad_packed = gradients(model, make_loss_head(model), [make_pass(some, CPU)])
    stock = families.build(name, kernel="eager").train()
    stock.set_attn_implementation("eager")  # transformers' own attention and masks, not ours
    loss_alone, grad_alone = reference(stock, some)
    assert loss_packed == pytest.approx(loss_alone, rel=2e-5)
    error = (grad_packed - grad_alone).norm() / grad_alone.norm()
    assert error < 2e-5, f"{name}: gradients differ by {error:.1e}"


@pytest.mark.parametrize("kernel", attention.KERNELS)
@pytest.mark.parametrize("name", ["llama", "mistral_window", "gemma2", "gpt_oss"])
def test_every_kernel_computes_the_same(name: str, kernel: str) -> None:
    some = rows(9, 12, 4)
    model = families.build(name, kernel=kernel).train()
    _, grad = gradients(model, make_loss_head(model), [make_pass(some, CPU)])
    stock = families.build(name, kernel="eager").train()
    stock.set_attn_implementation("eager")
    _, truth = reference(stock, some)
    assert (grad - truth).norm() / truth.norm() < 2e-5


def test_without_document_bounds_rows_contaminate_each_other() -> None:
    """Shows that the test above can fail: the same pass as one long document gives other gradients."""
    some = rows(11, 5, 14, 3)
    model = families.build("llama").train()
    head = make_loss_head(model)
    one = make_pass(some, CPU)
    _, right = gradients(model, head, [one])
    model.zero_grad()
    head.summed(one).backward()
    wrong = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert (wrong - right).norm() / right.norm() > 0.1


def test_first_token_of_a_row_is_never_a_target_even_if_marked() -> None:
    marked = [Encoded((5, 6, 7), (True, True, True)), Encoded((8, 9), (True, True))]
    one = make_pass(marked, CPU)
    assert one.keep.tolist() == [0, 1, 3]
    assert one.targets.tolist() == [6, 7, 9]
    assert one.positions.tolist() == [[0, 1, 2, 0, 1]]


@pytest.mark.parametrize("budget", [8, 16, 1000])
@pytest.mark.parametrize("packing", [True, False])
def test_the_size_of_a_pass_changes_nothing(budget: int, packing: bool) -> None:
    some = rows(7, 3, 12, 5, 9, 4)
    model = families.build("llama").train()
    head = make_loss_head(model)
    total, grad = gradients(model, head, list(make_passes(some, budget, packing, CPU)))
    whole, truth = gradients(model, head, [make_pass(some, CPU)])
    assert total == pytest.approx(whole, rel=1e-5)
    assert (grad - truth).norm() / truth.norm() < 1e-5


def test_passes_without_supervised_tokens_are_left_out() -> None:
    silent = Encoded((5, 6, 7), (False, False, False))
    made = list(make_passes([silent, *rows(6)], 100, packing=False, device=CPU))
    assert len(made) == 1


@pytest.mark.parametrize("shape", [LogitShape(), LogitShape(0.25), LogitShape(softcap=2.0), LogitShape(0.5, 3.0)])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("by_rows", [True, False])
def test_chunked_loss_equals_the_definition(
    shape: LogitShape, with_bias: bool, by_rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK_BYTES", 1)  # the smallest chunk, so that there are several
    if by_rows:
        monkeypatch.setattr(loss, "CACHED_BYTES", 7 * 40 * 4)
    else:  # as on a GPU
        monkeypatch.setattr(loss, "_prefers_rows", lambda _: False)
    torch.manual_seed(0)
    hidden = torch.randn(150, 16, requires_grad=True)
    weight = torch.randn(40, 16, requires_grad=True)
    bias = torch.randn(40, requires_grad=True) if with_bias else None
    targets = torch.randint(0, 40, (150,))
    ours = loss._ChunkedCrossEntropy.apply(hidden, weight, bias, targets, shape)
    wanted = [t for t in (hidden, weight, bias) if t is not None]
    grads = torch.autograd.grad(ours * 0.5, wanted)
    logits = torch.nn.functional.linear(hidden, weight, bias) * shape.scale
    if shape.softcap:
        logits = torch.tanh(logits / shape.softcap) * shape.softcap
    truth = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(ours, truth, rtol=1e-5, atol=1e-4)
    for mine, theirs in zip(grads, torch.autograd.grad(truth * 0.5, wanted), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_generation_with_a_cache_uses_the_same_attention() -> None:
    """One token after another with a cache gives what one pass over everything gives, windows included."""
    for name in ("llama", "mistral_window", "gemma2", "gpt2"):
        model = families.build(name).eval()
        ids = torch.randint(3, 128, (1, 5), generator=torch.Generator().manual_seed(1))
        spoken = model.generate(ids, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
        with torch.no_grad():
            whole = model(input_ids=spoken[:, :-1], use_cache=False).logits.argmax(-1)
        assert whole[0, 4:].tolist() == spoken[0, 5:].tolist(), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_pass_is_the_same_on_a_gpu_though_nobody_waits_for_it() -> None:
    given = rows(8, 5)
    here, there = (make_pass(given, torch.device(kind)) for kind in ("cpu", "cuda"))
    for name in ("tokens", "positions", "keep", "targets"):
        assert torch.equal(getattr(here, name), getattr(there, name).cpu())
    assert torch.equal(here.documents.offsets, there.documents.offsets.cpu())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", attention.KERNELS)
def test_values_may_be_narrower_than_queries(kernel: str, dtype: torch.dtype) -> None:
    """As in multi-head latent attention (arXiv 2405.04434): 24 to ask with and 16 to tell."""
    chance = torch.Generator().manual_seed(3)
    query, key = (torch.randn(1, 4, 20, 24, generator=chance).to(dtype).requires_grad_() for _ in range(2))
    value = torch.randn(1, 4, 20, 16, generator=chance).to(dtype).requires_grad_()
    given = torch.randn(1, 20, 4, 16, generator=chance)
    found = []
    for name in (kernel, "eager"):
        with documents(Documents.of_lengths((9, 11), CPU)):
            attended, _ = attention.implementation(name)(torch.nn.Identity(), query, key, value, None)
            slopes = torch.autograd.grad((attended.float() * given).sum(), (query, key, value))
        found.append([tensor.detach().float() for tensor in (attended, *slopes)])
    limit = 1e-5 if dtype == torch.float32 else 2e-2
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= limit * other.norm()
