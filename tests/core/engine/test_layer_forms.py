"""Other forms of the layers: they learn what plain layers learn, and what goes wrong with them leaves plain ones."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from core.engine import layer_choice  # noqa: E402
from core.engine.kernels.compiled_layers import MOST_GRAPHS, CompiledLayers  # noqa: E402
from core.engine.kernels.liger_layers import LigerLayers  # noqa: E402
from core.engine.layer_forms import Layers, Tried, take, try_form  # noqa: E402
from core.engine.loading import checkpoint_layers  # noqa: E402
from core.engine.passes import make_pass  # noqa: E402
from tests.core.engine import families  # noqa: E402
from tests.core.engine.test_engine_passes_and_loss import rows  # noqa: E402
from tests.core.engine.test_engine_traps import learner  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:::torch"),  # the compiler warns of itself
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out"),
]
CPU = torch.device("cpu")
LENGTHS = ((30, 4, 6), (5, 7), (40, 5, 6, 7, 8), (12,), (3, 3))
"""Passes of other lengths and other numbers of documents, with other bounds each."""


def passes(*lengths: tuple[int, ...]):
    return [make_pass(rows(*one), CPU) for one in lengths]


class Other:
    """A form that does something else to the first layer's output."""

    name = "other"

    def __init__(self, base: Any, do: Any) -> None:
        self.layer, self.do = base.model.layers[0], do
        self.calls = 0

    def obstacle(self) -> str:
        return ""

    def on(self) -> None:
        plain = type(self.layer).forward

        def forward(*inputs: Any, **others: Any) -> Any:
            self.calls += 1
            return self.do(self.calls, plain(self.layer, *inputs, **others))

        self.layer.forward = forward

    def off(self) -> None:
        self.layer.__dict__.pop("forward", None)

    def settle(self) -> None:
        return None

    def complaint(self) -> str:
        return ""


def graphs() -> int:
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


@pytest.fixture(autouse=True)
def forgetful():
    """Every test compiles for itself and is counted by itself."""
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
        sys.modules["torch._dynamo.utils"].counters.clear()


def test_passes_of_all_lengths_share_what_is_compiled_and_learn_the_same() -> None:
    """Layers, dropout and recomputation included; bounds and lengths of documents are no reason to compile again."""
    one = learner(dropout=0.2)
    base = one.head.model
    checkpoint_layers(base, 2)
    some = passes(*LENGTHS)
    plain = take(one, some)
    form = CompiledLayers(base, "flash", backend="aot_eager")
    assert not form.obstacle()
    form.on()
    take(one, some[:1])
    compiled = graphs()
    assert compiled > 0
    form.settle()
    again = take(one, some)
    assert graphs() == compiled
    assert not form.complaint()
    form.off()
    assert again.losses == pytest.approx(plain.losses, rel=1e-5)
    for found, truth in zip(again.gradients, plain.gradients, strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-6)
    assert not any("forward" in module.__dict__ for module in base.modules())


@pytest.mark.parametrize("name", ["mistral_window", "gemma2", "gpt_oss", "gpt2"])
def test_families_with_windows_caps_experts_and_positions_of_their_own_are_traced(name: str) -> None:
    from core.engine.loss import make_loss_head
    from core.engine.masters import Masters
    from tests.core.engine.test_engine_traps import wrapped

    base, model = wrapped(name)
    one = SimpleNamespace(device=CPU, head=make_loss_head(base), masters=Masters(model.train(), torch.float32))
    some = passes(*LENGTHS[:3])
    tried = try_form(one, CompiledLayers(base, "flash", backend="eager"), some, take(one, some), timed=False)
    assert not tried.obstacle
    assert graphs() > 0


def test_layers_that_learn_nothing_and_evaluations_stay_plain() -> None:
    one = learner()
    form = CompiledLayers(one.head.model, "flash", backend="eager")
    form.on()
    one.head.model.eval()
    with torch.no_grad():
        from core.engine.attention import documents

        single = passes((9, 4))[0]
        with documents(single.documents):
            one.head.summed(single)
    form.off()
    assert graphs() == 0


def test_what_is_compiled_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    one = learner()
    form = CompiledLayers(one.head.model, "flash")
    monkeypatch.setattr("core.engine.kernels.compiled_layers._graphs", lambda: 7)
    form.settle()
    monkeypatch.setattr("core.engine.kernels.compiled_layers._graphs", lambda: 8 + MOST_GRAPHS)
    assert f"{MOST_GRAPHS + 1} pieces anew" in form.complaint()
    said: list[Any] = []
    session: Any = SimpleNamespace(
        layers=Layers(form), context=SimpleNamespace(emit=said.append), device=CPU, model=one.model
    )
    assert layer_choice.fall_back(session)
    assert session.layers.name == "plain"
    assert "given up" in said[0].message
    assert not layer_choice.fall_back(session)


def test_a_form_that_computes_something_else_is_found_out() -> None:
    one = learner()
    some = passes(*LENGTHS[:2])
    plain = take(one, some)
    slightly = Other(one.head.model, lambda _call, out: out * 1.01)
    wrong_back = Other(one.head.model, lambda _call, out: out.detach() + 0 * out)
    for form, word in ((slightly, "losses"), (wrong_back, "gradients")):
        tried = try_form(one, form, some, plain, timed=True)
        assert word in tried.obstacle
        assert take(one, some).losses == plain.losses


def test_a_form_that_fails_leaves_plain_layers_no_gradient_and_the_same_chance() -> None:
    one = learner(dropout=0.1)
    some = passes(*LENGTHS[:2])
    plain = take(one, some)

    def fail(call: int, out: Any) -> Any:
        if call == 2:
            raise ValueError("no kernel for this\nand a long story")
        return out

    before = torch.get_rng_state()
    tried = try_form(one, Other(one.head.model, fail), some, plain, timed=True)
    assert tried.obstacle == "It failed with ValueError: no kernel for this."
    assert torch.equal(torch.get_rng_state(), before)
    assert all(master.grad is None for master in one.masters.masters)
    assert take(one, some).losses == plain.losses


def test_the_fastest_right_form_is_taken_if_it_is_worth_it() -> None:
    def tried(name: str, seconds: float, obstacle: str = "") -> Tried:
        return Tried(SimpleNamespace(name=name), obstacle, 0.001, seconds, 3.0)

    compiled, liger = tried("compiled", 0.8), tried("liger", 0.9)
    taken, message = layer_choice._best([compiled, liger], 1.0)
    assert taken is compiled
    assert "1.25 times" in message
    assert "1.11 times" in message
    taken, message = layer_choice._best([tried("compiled", 0.0, "It failed."), tried("liger", 0.99)], 1.0)
    assert taken is None
    assert "stay plain" in message
    assert "It failed." in message


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "cl"))), reason="PyTorch's compiler needs a C++ compiler"
)
def test_compiled_for_real_it_learns_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from torch._inductor.async_compile import AsyncCompile

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    one = learner()
    some = passes(*LENGTHS[:3])
    plain = take(one, some)
    tried = try_form(one, CompiledLayers(one.head.model, "flash"), some, plain, timed=True)
    AsyncCompile.pool().shutdown()
    AsyncCompile.pool.cache_clear()
    assert not tried.obstacle
    assert tried.difference < 1e-4
    assert tried.seconds > 0


def test_without_a_compiler_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(config.cpp, "cxx", (str(tmp_path / "no-compiler"),))
    one = learner()
    some = passes(*LENGTHS[:1])
    plain = take(one, some)
    tried = try_form(one, CompiledLayers(one.head.model, "flash"), some, plain, timed=False)
    assert tried.obstacle.startswith("It failed with ")
    assert take(one, some).losses == plain.losses


def test_liger_is_not_tried_where_it_cannot_run() -> None:
    assert "liger-kernel is not installed" in LigerLayers(families.build("llama")).obstacle() or (
        "on a GPU only" in LigerLayers(families.build("llama")).obstacle()
    )


LIGER = """
import sys
from types import SimpleNamespace
import numpy, torch, triton
import triton.language as tl
from triton.runtime import interpreter
from importlib import import_module

stock = interpreter._implicit_cvt

def with_floats(value):  # a number is a float32 to a kernel on a GPU; the interpreter hands it over as Python's
    if isinstance(value, float):
        return tl.tensor(interpreter.TensorHandle(numpy.array([value], numpy.float32), tl.float32), tl.float32)
    return stock(value)

interpreter._implicit_cvt = with_floats

@triton.jit
def rsqrt(x):  # functions of CUDA's own library, which the interpreter has none of
    return 1.0 / tl.sqrt(x)

@triton.jit
def tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1

import_module("liger_kernel.ops.rms_norm").rsqrt = rsqrt
import_module("liger_kernel.ops.geglu").tanh = tanh

from core.engine.kernels.liger_layers import LigerLayers
from core.engine.layer_forms import take, try_form
from core.engine.loss import make_loss_head
from core.engine.masters import Masters
from tests.core.engine.test_engine_traps import wrapped
from tests.core.engine.test_layer_forms import passes

for name, fused in (("llama", 8), ("qwen3", 12), ("gemma2", 12), ("phi3", 6)):
    base, model = wrapped(name)
    one = SimpleNamespace(
        device=torch.device("cpu"), head=make_loss_head(base), masters=Masters(model.train(), torch.float32)
    )
    some = passes((7, 4), (5,))
    form = LigerLayers(base)
    tried = try_form(one, form, some, take(one, some), timed=False)
    assert not tried.obstacle and tried.difference < 1e-4, (name, tried)
    form.on()
    assert len(form._undo) == fused, (name, len(form._undo))
    form.off()
    assert not any("forward" in module.__dict__ for module in base.modules())
print("proven")
"""


@pytest.mark.skipif(
    not (importlib.util.find_spec("triton") and importlib.util.find_spec("liger_kernel")),
    reason="triton and liger-kernel, which come to a gigabyte, are not installed",
)
def test_ligers_kernels_give_the_models_own_numbers_in_tritons_interpreter(tmp_path: Any) -> None:
    """Norms of Llama's and Gemma's kind, both gates, rotary positions; in float32: the interpreter has no bfloat16."""
    (tmp_path / "proof.py").write_text(LIGER, encoding="utf-8")
    env = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    done = subprocess.run([sys.executable, str(tmp_path / "proof.py")], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "proven" in done.stdout
