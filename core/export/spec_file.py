"""The settings of a run as a file that goes with what it made: whole, readable again, and without a machine's paths."""

from core.export.adapter import TEMPLATE_FILE, last_name, public_name
from core.spec.codec import to_yaml
from core.spec.run_spec import RunSpec
from core.spec.template_choice import TOOLS

SPEC_FILE = "spec.yaml"


def public_spec(spec: RunSpec) -> RunSpec:
    """The spec with public names in the place of paths; ``lowrank run`` takes it where the files lie beside it."""
    template = spec.data.template
    bare = template.removesuffix(TOOLS)
    is_path = "\n" not in template and "{" not in template and last_name(bare) != bare
    changes: dict[str, object] = {
        "model.base": public_name(spec.model.base),
        "data.train": tuple(map(last_name, spec.data.train)),
        "data.validation": tuple(map(last_name, spec.data.validation)),
        "data.weights": {last_name(name): weight for name, weight in spec.data.weights.items()},
        "data.template": TEMPLATE_FILE if is_path else template,
        "adapter.start_from": last_name(spec.adapter.start_from),
        "output.folder": "",
    }
    for path, value in changes.items():
        spec = spec.replace(path, value)
    return spec


def spec_text(spec: RunSpec) -> str:
    """The YAML of `SPEC_FILE`, every setting named, defaults too: a later version may have others."""
    return to_yaml(public_spec(spec), full=True)
