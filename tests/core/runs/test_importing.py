import shutil
from pathlib import Path

import pytest

from core import paths
from core.errors import ExitCode, UserError
from core.runs.importing import create_import, plan_import, suggested_name
from core.runs.store import load_job
from tests.core.facts.conftest import GGUF_LLAMA, gguf_bytes, gguf_llama_shapes


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "My model (Q8).gguf"
    path.write_bytes(gguf_bytes(GGUF_LLAMA, gguf_llama_shapes()))
    return path


def trouble(*arguments: object) -> UserError:
    with pytest.raises(UserError) as caught:
        plan_import(*arguments)  # type: ignore[arg-type]
    return caught.value


def test_a_plan(gguf: Path) -> None:
    plan = plan_import(gguf)
    assert plan.name == "My-model-Q8"
    assert plan.target == paths.models_dir() / "My-model-Q8"
    assert plan.needed_bytes == plan.facts.parameters * 2
    assert plan.memory_bytes == plan.facts.parameters * 4
    assert plan_import(gguf, "mine", "fp32").needed_bytes == plan.facts.parameters * 4
    assert plan.arguments == {
        "source": str(gguf),
        "target": str(plan.target),
        "name": "My-model-Q8",
        "dtype": "bf16",
        "licence": "apache-2.0",
    }
    assert not paths.models_dir().exists(), "a plan writes nothing"
    folder = create_import(plan)
    assert load_job(folder).kind == "import_gguf"
    assert load_job(folder).arguments == plan.arguments


@pytest.mark.parametrize(
    ("stem", "name"), [("a", "a"), ("Ünï code", "Ünï-code"), ("  .x. ", "x"), ("((", "(("), ("q4+k_m.v2", "q4+k_m.v2")]
)
def test_names(stem: str, name: str) -> None:
    assert suggested_name(Path(f"{stem}.gguf")) == name


def test_what_is_in_the_way(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trouble(tmp_path / "none.gguf").problems[0].path == "source"
    assert trouble(tmp_path).problems[0].path == "source"
    (tmp_path / "text.txt").write_text("x")
    assert "not a GGUF file" in str(trouble(tmp_path / "text.txt"))
    for name in ("../up", "a/b", ".hidden", "a b"):
        assert trouble(gguf, name).problems[0].path == "name"
    (paths.models_dir() / "mine").mkdir(parents=True)
    assert "already a model" in str(trouble(gguf, "mine"))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and nothing more")
    assert "broken.gguf" in trouble(tmp_path / "broken.gguf").problems[0].path
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    full = trouble(gguf)
    assert full.exit_code == ExitCode.DOES_NOT_FIT
    assert "10 B are free" in full.problems[0].message
    assert "LOWRANK_HOME" in full.problems[0].advice


def test_a_models_folder_that_cannot_be_made(gguf: Path) -> None:
    plan = plan_import(gguf)
    paths.home().mkdir(parents=True)
    paths.models_dir().write_text("not a folder")
    with pytest.raises(UserError, match="cannot be made"):
        create_import(plan)
