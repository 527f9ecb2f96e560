"""``python -m core.engine.import_check``: imports all that an engine may need, and names what is missing.

For packages: what was left out by mistake would otherwise be missed by the one user whose model needs it. Tried are
every module of core, what trains on several GPUs, and every family of causal language models that transformers knows.
"""

import importlib
import pkgutil
import sys
import warnings

_OTHERS = (
    "accelerate", "bitsandbytes.optim", "gguf", "hf_xet", "huggingface_hub", "keyring.backends", "matplotlib.figure",
    "matplotlib.backends.backend_agg", "peft.tuners.lora", "pyarrow.parquet",
    "pyarrow.csv", "safetensors.torch", "torch.distributed.checkpoint", "torch.distributed.fsdp", "torch.profiler",
    "torch.nn.parallel", "truststore",
)  # fmt: skip


def modules() -> list[str]:
    """The names of all that is tried."""
    from transformers.models.auto.configuration_auto import model_type_to_module_name
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    import core

    own = [found.name for found in pkgutil.walk_packages(core.__path__, "core.") if not found.name.endswith("__main__")]
    families = dict.fromkeys(model_type_to_module_name(kind) for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    return [*own, *_OTHERS, *(f"transformers.models.{family}" for family in families)]


def missing() -> dict[str, str]:
    """What cannot be imported, with the reason."""
    found = {}
    for name in modules():
        try:
            module = importlib.import_module(name)
            if name.startswith("transformers.models."):
                for part in pkgutil.iter_modules(module.__path__):
                    if part.name.startswith(("configuration_", "modeling_")):
                        importlib.import_module(f"{name}.{part.name}")
        except Exception as failure:  # noqa: BLE001 (a library may fail in any way, and the next is still to be tried)
            found[name] = f"{type(failure).__name__}: {failure}"
    return found


def main() -> int:
    """Prints what is missing; 1 when anything is."""
    warnings.simplefilter("ignore")
    found = missing()
    for name, reason in found.items():
        sys.stderr.write(f"{name}: {reason}\n")
    sys.stdout.write(f"{len(modules())} modules tried, {len(found)} missing\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
