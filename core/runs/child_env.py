"""The environment of an engine process: what it needs, and nothing that belongs to whoever starts it."""

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

# An engine started here is alone: left-overs of torchrun or Slurm in a shell would make it wait for others for ever.
_DISTRIBUTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
_DISTRIBUTED_PREFIXES = ("TORCHELASTIC_",)
# Belong to one interpreter, session or bundle; a packaged program must not hand them to a process that outlives it.
_INTERPRETER = ("PYTHONSTARTUP", "PYTHONINSPECT")
_BUNDLE = ("PYTHONHOME", "PYTHONPATH", "_MEIPASS2", "QT_PLUGIN_PATH", "QML2_IMPORT_PATH", "QT_QPA_PLATFORM_PLUGIN_PATH")
_BUNDLE_PREFIXES = ("_PYI_",)
# PyInstaller's start code replaces these and keeps the user's own value under the name with _ORIG.
_LIBRARY_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LIBPATH")

ENGINE_DEFAULTS = {
    "HF_HUB_OFFLINE": "1",  # nothing is fetched behind the user's back; some libraries try at import
    "TOKENIZERS_PARALLELISM": "true",  # said outright, tokenizers neither warns nor turns it off after a fork
    # Threads that wait for work spin for some tens of microseconds and then sleep. Spinning for long keeps the core
    # from the thread they wait for where another program is busy; sleeping at once costs a wake-up at each small
    # operation. Tokens/s on 2 cores, alone and beside two busy programs: spinning for long (libgomp's default) 387 and
    # 88, sleeping at once 298 and 184, this 388 and 149.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "30000",
    # Every length of a pass is a new shape, and oneDNN and PyTorch's layer over it would each keep what they built for
    # the last thousand: 40 MiB a step, and 6 MiB more where only oneDNN's own cache is small. Nothing is slower for it.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "100",
    "LRU_CACHE_CAPACITY": "64",
    # While a model is loaded and quantized, what is freed goes back to the system at once, as blocks of their own: else
    # it stays, cut into pieces that no pass can use. Once it is loaded the engine sets other thresholds, see
    # core.engine.bootstrap.keep_freed_memory.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 27),
    "PYTHONUTF8": "1",  # output goes to a file, which on Windows would otherwise take the old code page
}
_ALWAYS = {
    "PYTHONFAULTHANDLER": "1",  # a crash in native code leaves a traceback in engine.log
    "PYTHONUNBUFFERED": "1",  # what was printed before a crash is in the log
}
_ALLOCATOR_NAMES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")


def child_env(parent: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for an engine, made from ``parent`` (by default this process's own)."""
    env = dict(os.environ if parent is None else parent)
    frozen = bool(getattr(sys, "frozen", False))
    names = (*_DISTRIBUTED, *_INTERPRETER, *(_BUNDLE if frozen else ()))
    prefixes = (*_DISTRIBUTED_PREFIXES, *(_BUNDLE_PREFIXES if frozen else ()))
    for name in [key for key in env if key in names or key.startswith(prefixes)]:
        del env[name]
    env.update({name: value for name, value in ENGINE_DEFAULTS.items() if name not in env})
    env.update(_ALWAYS)
    if sys.platform.startswith("linux") and not any(name in env for name in _ALLOCATOR_NAMES):
        env["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    if frozen:
        restore_library_paths(env)
        # The engine unpacks a bundle of its own: the one of this process goes when this process ends.
        env["PYINSTALLER_RESET_ENVIRONMENT"] = "1"
    else:
        _add_source_root(env)
    return env


def restore_library_paths(env: MutableMapping[str, str]) -> None:
    """Where libraries are looked for, as before this packaged program began: a program of the system needs its own."""
    for name in _LIBRARY_PATHS:
        original = env.get(f"{name}_ORIG")  # stays, so that this may be done twice
        env.pop(name, None)
        if original:
            env[name] = original


def _add_source_root(env: dict[str, str]) -> None:
    """Makes ``core`` importable from any folder when it is used from source; an installed one is found anyway."""
    root = Path(__file__).resolve().parents[2]
    if root.name in ("site-packages", "dist-packages"):
        return  # on PYTHONPATH it would come before the standard library
    rest = [part for part in env.get("PYTHONPATH", "").split(os.pathsep) if part and Path(part) != root]
    env["PYTHONPATH"] = os.pathsep.join([str(root), *rest])
