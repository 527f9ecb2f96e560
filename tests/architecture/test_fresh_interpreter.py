"""Importing any part of core but the engine loads none of the heavy libraries, not even by a detour."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

HEAVY = (
    "PIL", "PySide6", "accelerate", "bitsandbytes", "datasets", "gguf", "huggingface_hub", "jinja2", "keyring",
    "matplotlib", "numpy", "pandas", "peft", "pyarrow", "pyqtgraph", "requests", "safetensors", "shiboken6",
    "tokenizers", "torch", "transformers", "trl",
)  # fmt: skip

PROGRAM = """
import importlib, json, sys
modules, heavy = json.loads(sys.stdin.read())
blame = {}
for name in modules:
    importlib.import_module(name)
    for library in heavy:
        if library in sys.modules:
            blame.setdefault(library, name)
print(json.dumps([blame, sorted(name for name in sys.modules if name.startswith("core"))]))
"""


def light_modules() -> list[str]:
    """Every module of core outside the engine; ``__main__`` is left out because importing it is running it."""
    names = []
    for path in sorted((ROOT / "core").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[:2] != ("core", "engine") and parts[-1] != "__main__":
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def import_in_fresh_interpreter(modules: list[str]) -> tuple[dict[str, str], list[str]]:
    """Which module first brought each heavy library in, and which modules of core were loaded in the end."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        input=json.dumps([modules, HEAVY]),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    blame, loaded = json.loads(result.stdout)
    return blame, loaded


def test_nothing_heavy_is_imported_and_nobody_imports_the_engine() -> None:
    modules = light_modules()
    assert {"core", "core.errors", "core.spec.run_spec", "core.plan.types"} <= set(modules)
    blame, loaded = import_in_fresh_interpreter(modules)
    assert blame == {}, f"heavy library -> the module that imports it: {blame}"
    assert [name for name in loaded if name.startswith("core.engine")] == []


def test_core_alone_imports_nothing() -> None:
    _, loaded = import_in_fresh_interpreter(["core"])
    assert loaded == ["core"]
