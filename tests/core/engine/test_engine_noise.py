"""NEFTune: uniform noise on embeddings by the length of each document, in training mode only, from a saved chance."""

import math

import pytest

torch = pytest.importorskip("torch")

from core.engine.attention import Documents, documents  # noqa: E402
from core.engine.noise import add_noise  # noqa: E402
from tests.core.engine.test_engine_optimizers import tiny  # noqa: E402

pytestmark = pytest.mark.torch

ALPHA, WIDTH = 5.0, 16


def noise(lengths: tuple[int, ...], *, training: bool = True, alpha: float = ALPHA, dtype: object = torch.float32):
    """What is added to the embeddings of a pass."""
    model = tiny().to(dtype)
    embeddings = model.get_input_embeddings()
    ids = torch.arange(sum(lengths))[None] % 64
    plain = embeddings(ids)
    add_noise(model, alpha)
    model.train(training)
    torch.manual_seed(3)
    with documents(Documents.of_lengths(lengths, torch.device("cpu"))):
        return (embeddings(ids) - plain)[0].detach()


def test_each_document_gets_the_noise_of_its_own_length() -> None:
    lengths = (400, 25, 1)
    found = noise(lengths).split(lengths)
    for length, part in zip(lengths, found, strict=True):
        reach = ALPHA / math.sqrt(length * WIDTH)
        assert float(part.abs().max()) <= reach * (1 + 1e-4)
        if length > 1:
            assert float(part.abs().max()) > 0.95 * reach
            assert float(part.std()) == pytest.approx(reach / math.sqrt(3), rel=0.1)  # a uniform distribution's
            assert abs(float(part.mean())) < 0.15 * reach


def test_a_document_in_a_pass_of_its_own_gets_the_same_noise_as_packed_first() -> None:
    assert torch.equal(noise((40, 8))[:40].sign()[0], noise((40,)).sign()[0])


def test_there_is_none_when_the_model_is_measured_or_nothing_was_asked() -> None:
    assert float(noise((50,), training=False).abs().max()) == 0.0
    assert float(noise((50,), alpha=0.0).abs().max()) == 0.0


def test_sixteen_bits_stay_sixteen_bits() -> None:
    assert noise((50, 3), dtype=torch.bfloat16).dtype == torch.bfloat16


def test_outside_of_any_pass_the_whole_input_counts_as_one_document() -> None:
    model = tiny()
    add_noise(model, ALPHA)
    model.train()
    embedded = model.get_input_embeddings()(torch.zeros((1, 9), dtype=torch.long))[0].detach()
    spread = embedded - embedded.mean(dim=0)
    assert 0 < float(spread.abs().max()) < 2 * ALPHA / math.sqrt(9 * WIDTH)
