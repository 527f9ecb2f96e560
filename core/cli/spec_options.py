"""The options that say which spec is meant: a file, a preset, and single settings, in this order."""

import argparse
from pathlib import Path

from core.errors import UserError, error
from core.spec.run_spec import RunSpec


def add_spec_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares ``SPEC``, ``--preset`` and ``--set``."""
    parser.add_argument(
        "spec", nargs="?", metavar="SPEC", help="settings file in YAML; may be left out when --set says enough"
    )
    add_change_arguments(parser)


def add_change_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares ``--preset`` and ``--set``."""
    parser.add_argument("--preset", metavar="NAME", help="take a preset's settings over the file's (see “presets”)")
    add_assignments(parser, "adapter.rank=8")


def add_assignments(parser: argparse.ArgumentParser, example: str) -> None:
    """Declares ``--set``."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        dest="assignments",
        help=f"change one setting, such as {example}; may be repeated, and is applied last",
    )


def read_spec_options(options: argparse.Namespace, *, rows_needed: bool = True) -> RunSpec:
    """The spec that the options mean, with relative paths made absolute.

    Args:
        options: what was written.
        rows_needed: whether data has to be named where there is no settings file.

    Raises:
        UserError: the file, the preset or a setting cannot be used, or nothing says what to train.
    """
    from core.spec.codec import read_spec

    if options.spec:
        spec = read_spec(Path(options.spec))
    else:
        named = {text.partition("=")[0].strip() for text in options.assignments}
        missing = [path for path in ("model.base", "data.train") if path not in named]
        if missing and (rows_needed or missing != ["data.train"]):
            words = " and ".join(f"--set {path}=…" for path in missing)
            raise UserError(error("", "No settings file is named.", f"Name one, or say what to train with {words}."))
        spec = RunSpec()
    return change_spec(spec, options)


def change_spec(spec: RunSpec, options: argparse.Namespace) -> RunSpec:
    """The spec with the preset and then the single settings of the options.

    Raises:
        UserError: there is no such preset or setting, or a value does not fit.
    """
    from core.spec.codec import apply_assignments, resolve_paths

    if options.preset:
        from core.spec.presets import apply_preset

        spec = apply_preset(options.preset, spec)
    return resolve_paths(apply_assignments(spec, options.assignments), Path.cwd())
