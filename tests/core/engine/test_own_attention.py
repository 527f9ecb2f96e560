"""Models that take their attention from elsewhere: they keep theirs, with the masks that belong to it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from core.engine import attention  # noqa: E402
from core.engine.attention import Documents, documents  # noqa: E402
from core.engine.loading import load_base  # noqa: E402
from core.engine.loss import make_loss_head  # noqa: E402
from core.engine.selfcheck import self_check  # noqa: E402
from core.engine.session import _checked  # noqa: E402
from core.errors import FailureKind, JobError  # noqa: E402
from core.spec.run_spec import RunSpec  # noqa: E402
from tests.core.engine.test_engine_passes_and_loss import rows  # noqa: E402
from tests.core.engine.test_preference import pairs  # noqa: E402
from tests.core.facts.tiny_families import TINY  # noqa: E402

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")
OLD = ("bloom", "codegen", "mpt", "gptj", "gpt_neo", "falcon")
LENGTH, PREFIX = 12, 8


def made(kind: str, **how: Any) -> Any:
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**{**TINY[kind], "vocab_size": 128}), **how).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3)
    return model.float()


def loaded(kind: str, folder: Path) -> tuple[Any, Any]:
    """A model as transformers alone has it, and as the engine loads it."""
    own = made(kind)
    own.save_pretrained(folder)
    return own, load_base(folder, device=CPU, compute_dtype="fp32").eval()


@torch.no_grad()
def logits(model: Any, tokens: Any) -> Any:
    with documents(Documents.of_lengths((tokens.shape[1],), CPU)):
        return model(input_ids=tokens, use_cache=False).logits[0]


@pytest.mark.parametrize("kind", OLD)
def test_what_it_foretells_depends_on_nothing_later(kind: str, tmp_path: Path) -> None:
    own, ours = loaded(kind, tmp_path)
    tokens = torch.randint(3, 128, (1, LENGTH), generator=torch.Generator().manual_seed(1))
    other = tokens.clone()
    other[0, PREFIX:] = (other[0, PREFIX:] + 7) % 100 + 3
    assert torch.allclose(logits(ours, tokens), logits(own, tokens), atol=1e-4)
    assert torch.allclose(logits(ours, tokens)[:PREFIX], logits(ours, other)[:PREFIX], atol=1e-4)


@pytest.mark.parametrize("kind", OLD)
def test_it_gets_every_row_alone_whatever_the_numbers_say(kind: str, tmp_path: Path) -> None:
    """Whether rows of a pass touch each other shows little where the weights are small."""
    _, ours = loaded(kind, tmp_path)
    checked = self_check(make_loss_head(ours), rows(30, 20, 12), packing=True, device=CPU)
    assert not checked.packing
    assert "flash" not in checked.attention


def test_it_learns_no_preferences_because_two_answers_of_a_pair_share_a_pass(tmp_path: Path) -> None:
    _, ours = loaded("mpt", tmp_path)
    told: list[Any] = []
    context: Any = SimpleNamespace(emit=told.append)
    plan = SimpleNamespace(choices=SimpleNamespace(packing=SimpleNamespace(value=False)))

    def checked(train_on: str, some: Any) -> Any:
        order: Any = SimpleNamespace(spec=RunSpec().replace("data.train_on", train_on), plan=plan)
        return _checked(context, order, ours, SimpleNamespace(train=some), CPU)  # type: ignore[arg-type]

    with pytest.raises(JobError, match="two answers of a pair would see each other") as caught:
        checked("preferences", pairs((9, 5), (4, 8)))
    assert caught.value.failure.kind is FailureKind.UNSUPPORTED
    assert "data.train_on: completions" in caught.value.failure.hint
    assert told == []
    assert checked("completions", rows(30, 20)).head.kind in ("chunked", "stock")
    assert told == []  # nobody asked for rows that share a pass


def test_one_that_looks_ahead_is_not_trained() -> None:
    """Bloom under our name, for which transformers makes no mask."""
    model = made("bloom", attn_implementation=attention.register("flash"))
    with pytest.raises(JobError, match="sees the tokens that it is to foretell") as caught:
        self_check(make_loss_head(model), rows(30, 20, 12), packing=True, device=CPU)
    assert caught.value.failure.kind is FailureKind.UNSUPPORTED


def test_one_that_asks_for_ours_has_it(tmp_path: Path) -> None:
    """StableLM does not say that it asks, and does."""
    own, ours = loaded("stablelm", tmp_path)
    assert not own._supports_attention_backend
    assert self_check(make_loss_head(ours), rows(30, 20, 12), packing=True, device=CPU).packing
