"""Masters, optimizer state, checkpoints and the self-check: what resume and trust rest on."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from core.data.types import Encoded  # noqa: E402
from core.engine import checkpoints, selfcheck  # noqa: E402
from core.engine.loading import checkpoint_layers  # noqa: E402
from core.engine.loss import LogitShape, make_loss_head  # noqa: E402
from core.engine.masters import Masters  # noqa: E402
from core.engine.optimizer import load_optimizer, make_optimizer, optimizer_tensors  # noqa: E402
from core.engine.scaling import INITIAL, LossScale  # noqa: E402
from core.errors import FailureKind, JobError  # noqa: E402
from core.records import to_plain  # noqa: E402
from core.runs.identity import changes, deciding_settings, weights_sample  # noqa: E402
from core.runs.saved_states import Counters, Identity, list_checkpoints  # noqa: E402
from tests.core.engine import families  # noqa: E402

pytestmark = pytest.mark.torch
PRINTS = Identity("m", "w", "d", {"rows": "1"}, "t", "k", {"training.seed": 42}, {"optimizer": "adamw"}, "x")


# --- masters -----------------------------------------------------------------------------------------------------


def test_small_updates_survive_in_the_masters_that_bfloat16_alone_would_lose() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    masters = Masters(layer, torch.bfloat16)
    assert layer.weight.dtype == torch.bfloat16
    for _ in range(100):
        with torch.no_grad():
            masters.masters[0].sub_(1e-4)  # far below bfloat16's step of 2**-8 at 1.0
        masters.publish()
    assert float(masters.masters[0].detach()) == pytest.approx(0.99, abs=1e-4)
    assert float(layer.weight.detach()) == pytest.approx(0.99, abs=2**-8)


def test_gradients_are_added_up_in_float32() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    masters = Masters(layer, torch.bfloat16)
    one = torch.ones(1, 1, dtype=torch.bfloat16)
    (layer(one) * 256).backward()
    for _ in range(3):
        layer(one).backward()  # in bfloat16, 256 + 1 is 256
    assert layer.weight.grad is None
    grad = masters.masters[0].grad
    assert grad is not None
    assert grad.dtype == torch.float32
    assert float(grad) == 259.0


def test_with_fp32_compute_the_parameters_are_their_own_masters() -> None:
    layer = torch.nn.Linear(2, 2).to(torch.bfloat16)
    layer.bias.requires_grad_(False)
    masters = Masters(layer, torch.float32)
    assert masters.names == ["weight"]
    assert masters.masters[0] is layer.weight
    assert layer.weight.dtype == torch.float32


def test_tensors_of_another_shape_are_refused() -> None:
    masters = Masters(torch.nn.Linear(2, 2, bias=False), torch.float32)
    with pytest.raises(ValueError, match=r"weight has shape \(3, 3\)"):
        masters.load({"weight": torch.zeros(3, 3)})


# --- optimizer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit", "adafactor", "lion", "lion_8bit", "muon"])
def test_optimizer_state_survives_the_way_through_plain_tensors_bit_for_bit(kind: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    def fresh():
        torch.manual_seed(3)
        parameters = [
            torch.nn.Parameter(torch.randn(128, 64)),
            torch.nn.Parameter(torch.randn(7)),
            torch.nn.Parameter(torch.randn(96, 64)),
        ]
        rates, hidden = [1.0, 1.0, 16.0], [True, False, True]
        rule = make_optimizer(kind, parameters, learning_rate=1e-2, weight_decay=0.01, factors=rates, hidden=hidden)
        return parameters, rule

    def steps(parameters, optimizer, count, seed):
        made = torch.Generator().manual_seed(seed)
        for _ in range(count):
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=made)
            optimizer.step()

    straight, straight_optimizer = fresh()
    steps(straight, straight_optimizer, 5, 0)
    tensors, numbers = optimizer_tensors(straight_optimizer)
    save_file(tensors, tmp_path / "o.safetensors")
    middle = [p.detach().clone() for p in straight]
    steps(straight, straight_optimizer, 5, 1)

    resumed, resumed_optimizer = fresh()
    with torch.no_grad():
        for parameter, value in zip(resumed, middle, strict=True):
            parameter.copy_(value)
    load_optimizer(resumed_optimizer, load_file(tmp_path / "o.safetensors"), json.loads(json.dumps(numbers)))
    steps(resumed, resumed_optimizer, 5, 1)
    for mine, theirs in zip(resumed, straight, strict=True):
        assert torch.equal(mine, theirs)


def test_paged_optimizers_need_a_gpu() -> None:
    with pytest.raises(JobError, match="no GPU") as caught:
        make_optimizer("paged_adamw", [torch.nn.Parameter(torch.zeros(4))], learning_rate=1e-3, weight_decay=0.0)
    assert caught.value.failure.kind is FailureKind.UNSUPPORTED


# --- loss scale --------------------------------------------------------------------------------------------------


def test_loss_scale_halves_on_overflow_and_calls_it_explained() -> None:
    scale = LossScale(enabled=True)
    assert scale.after_step(finite=False)
    assert scale.factor == INITIAL / 2
    scale.factor = 1.0
    assert not scale.after_step(finite=False), "at a factor below one the run itself is sick"
    off = LossScale(enabled=False)
    assert off.factor == 1.0
    assert not off.after_step(finite=False)


# --- checkpoints -------------------------------------------------------------------------------------------------


def save(folder: Path, step: int, keep: int = 2, value: float = 0.0, best: int = 0) -> Path:
    path, size = checkpoints.save_checkpoint(
        folder,
        counters=Counters(step=step, best_loss=1.5, best_step=best),
        identity=PRINTS,
        masters={"w": torch.full((4,), value)},
        optimizer=({"0.step": torch.tensor(3.0)}, {}),
        scaler={"factor": 1.0, "good_steps": 0},
        keep=keep,
    )
    assert size == sum(file.stat().st_size for file in path.iterdir())
    return path


def test_a_checkpoint_comes_back_whole(tmp_path: Path) -> None:
    save(tmp_path, 7, value=2.5)
    state, complaints = checkpoints.load_newest(tmp_path)
    assert state is not None
    assert complaints == []
    assert state.counters == Counters(step=7, best_loss=1.5)
    assert state.identity == PRINTS
    assert state.masters["w"].tolist() == [2.5] * 4
    names = {path.name for path in (tmp_path / "step-00000007").iterdir()}
    assert names == {
        "manifest.json",
        "masters.safetensors",
        "optimizer.safetensors",
        "random.safetensors",
        "state.json",
    }


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10):
        save(tmp_path, step)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000003", "step-00000010"]


def test_the_best_one_is_kept_beside_the_newest(tmp_path: Path) -> None:
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 2)):
        save(tmp_path, step, best=best)
    assert [path.name[-1] for path in list_checkpoints(tmp_path)] == ["2", "4", "5"]
    save(tmp_path, 6, best=6)
    assert [path.name[-1] for path in list_checkpoints(tmp_path)] == ["5", "6"]


def test_saving_a_step_again_renews_what_is_known_about_it(tmp_path: Path) -> None:
    path = save(tmp_path, 3, value=1.0)
    tensors = (path / "masters.safetensors").stat().st_mtime_ns
    assert save(tmp_path, 3, value=1.0, best=3) == path
    state, complaints = checkpoints.load_newest(tmp_path)
    assert state is not None
    assert (state.counters.best_step, complaints) == (3, [])
    assert (path / "masters.safetensors").stat().st_mtime_ns == tensors


def test_a_damaged_newer_one_never_displaces_a_whole_one(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 9) / "masters.safetensors").unlink()
    save(tmp_path, 2, keep=1)
    assert [path.name[-1] for path in list_checkpoints(tmp_path)] == ["2"]


@pytest.mark.parametrize("file", ["masters.safetensors", "state.json", "manifest.json", "optimizer.safetensors"])
@pytest.mark.parametrize("harm", ["cut", "flip", "remove"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(tmp_path: Path, file: str, harm: str) -> None:
    save(tmp_path, 1, value=1.0)
    victim = save(tmp_path, 2, value=2.0) / file
    data = victim.read_bytes()
    if harm == "cut":
        victim.write_bytes(data[: len(data) // 2])
    elif harm == "flip":
        victim.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    else:
        victim.unlink()
    state, complaints = checkpoints.load_newest(tmp_path)
    assert state is not None
    assert state.counters.step == 1
    assert len(complaints) == 1
    assert "step-00000002 is damaged" in complaints[0]


def test_a_save_that_fails_leaves_nothing_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)

    def full(*_args: object, **_more: object) -> None:
        raise OSError(28, "No space left on device", "masters.safetensors")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    state, complaints = checkpoints.load_newest(tmp_path)
    assert state is not None
    assert (state.counters.step, complaints) == (1, [])


def test_all_sources_of_chance_continue_where_they_were(tmp_path: Path) -> None:
    import numpy as np

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    draw()
    np.random.standard_normal()  # leaves half of a pair behind, which must survive as well
    save(tmp_path, 1)
    after = [draw() for _ in range(3)]
    state, _ = checkpoints.load_newest(tmp_path)
    assert state is not None
    checkpoints.restore_random(state)
    assert [draw() for _ in range(3)] == after


def test_saving_wakes_no_gpu_that_is_not_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wake(_index: int) -> torch.Tensor:
        raise AssertionError("a GPU was asked for its source of chance")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", wake)
    save(tmp_path, 1)
    state, _ = checkpoints.load_newest(tmp_path)
    assert state is not None
    assert not [name for name in state.random if name.startswith("cuda")]


def test_a_state_of_other_settings_is_refused_by_name_and_taken_with_consent() -> None:
    now = replace(PRINTS, settings={"training.seed": 43}, data="other", files={"rows": "2"})
    found = changes(PRINTS, now)
    assert [change.message for change in found] == [
        "The setting training.seed was 42 and is 43 now.",
        "The data file rows has changed.",
    ]
    with pytest.raises(JobError, match=r"training\.seed was 42 and is 43 now\. The data file rows") as caught:
        checkpoints.require_same(found, ())
    assert caught.value.failure.kind is FailureKind.RESUME_MISMATCH
    assert "--accept-changes" in caught.value.failure.hint
    with pytest.raises(JobError, match="rows has changed"):
        checkpoints.require_same(found, found[:1])
    assert checkpoints.require_same(found, found) == [change.message for change in found]
    assert checkpoints.require_same((), ()) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [("training.preference_loss", "orpo"), ("training.preference_beta", 0.3), ("training.chosen_weight", 0.5)],
)
def test_what_decides_how_preferences_are_learned_is_asked_about(path: str, value: object) -> None:
    saved = replace(PRINTS, settings={info.path: to_plain(info.default) for info in deciding_settings()})
    (found,) = changes(saved, replace(saved, settings={**saved.settings, path: value}))
    assert (found.path, found.after, found.blocks) == (path, str(value), False)
    with pytest.raises(JobError, match=f"is {value} now"):
        checkpoints.require_same((found,), ())
    assert checkpoints.require_same((found,), (found,)) == [found.message]


def test_no_consent_helps_where_tensors_do_not_fit() -> None:
    found = changes(PRINTS, replace(PRINTS, trained="y", chosen={"optimizer": "lion"}))
    assert [change.path for change in found] == ["chosen.optimizer", "trained"]
    with pytest.raises(JobError, match="optimizer was adamw and is lion now") as caught:
        checkpoints.require_same(found, found)
    assert "accept" not in caught.value.failure.hint


def test_a_setting_that_an_old_state_does_not_know_counts_as_its_default() -> None:
    assert changes(PRINTS, replace(PRINTS, settings={"training.seed": 42, "training.warmup": 0.05})) == ()
    found = changes(PRINTS, replace(PRINTS, settings={"training.seed": 42, "training.warmup": 0.1}))
    assert [(change.path, change.before, change.after) for change in found] == [("training.warmup", "0.05", "0.1")]


def test_other_weights_of_the_same_shapes_are_noticed(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(1_000_000))
    before = weights_sample(tmp_path, [weights.name])
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    assert weights_sample(tmp_path, [weights.name]) != before


# --- self-check --------------------------------------------------------------------------------------------------


def some_rows() -> list[Encoded]:
    made = torch.Generator().manual_seed(0)
    return [
        Encoded(tuple(torch.randint(3, 128, (20,), generator=made).tolist()), (False, *[True] * 19)) for _ in range(2)
    ]


def check(model, packing: bool = True):
    return selfcheck.self_check(make_loss_head(model), some_rows(), packing=packing, device=torch.device("cpu"))


def test_self_check_confirms_a_sound_model_and_reads_the_kernel_from_the_profile() -> None:
    found = check(families.build("llama"))
    assert (found.head.kind, found.packing) == ("chunked", True)
    assert found.attention == "flash attention (CPU)"
    assert check(families.build("llama", kernel="eager")).attention == "plain attention (eager)"


def test_self_check_falls_back_to_the_models_own_head(monkeypatch: pytest.MonkeyPatch) -> None:
    model = families.build("granite")
    monkeypatch.setattr("core.engine.loss.logit_shape", lambda _config: LogitShape())  # as if the scaling were unknown
    found = check(model)
    assert (found.head.kind, found.packing) == ("stock", True)
    assert found.difference < 1e-3


def test_self_check_gives_every_row_its_own_pass_where_rows_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.engine import attention

    monkeypatch.setattr(attention.Documents, "spans", lambda self: iter([(self.bounds[0], self.bounds[-1])]))
    found = check(families.build("llama"))
    assert not found.packing


# --- activation checkpointing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_checkpointed_layers_change_memory_but_no_gradient(count: int) -> None:
    from core.engine.attention import documents
    from core.engine.passes import make_pass

    def grad(layers: int) -> torch.Tensor:
        model = families.build("llama").train()
        assert checkpoint_layers(model, layers) == min(layers, 2)
        flags = [layer.gradient_checkpointing for layer in model.model.layers]
        assert flags == [index < layers for index in range(2)]
        one = make_pass(some_rows(), torch.device("cpu"))
        with documents(one.documents):
            make_loss_head(model).summed(one).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    assert torch.equal(grad(count), grad(0))
    assert math.isfinite(float(grad(count).norm()))
