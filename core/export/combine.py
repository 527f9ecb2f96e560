"""Several adapters of one base as one: their changes of the weights are added up, each times a weight of its own.

The sum of low-rank changes is a low-rank change itself: with A stacked upon A and B beside B, B·A is the sum of the
single products, exactly. Nothing is approximated, so the rank of the result is the sum of the ranks.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Problem, UserError, error
from core.export.adapter import Manifest, read_manifest, write_adapter
from core.export.card import combined_card
from core.export.peft_adapter import CONFIG_FILE, LowRank, PeftAdapter, read_adapter_config, read_peft_adapter
from core.export.target_folder import folder_problems

if TYPE_CHECKING:
    import torch

_ADVICE_MERGE = "Merge the adapters into the base one after another instead."


@dataclass(frozen=True, slots=True)
class CombineReport:
    """What was made of several adapters.

    Attributes:
        rank: the highest rank of a module.
        modules: how many modules have a low-rank change.
        notes: what somebody who uses the adapter should know, in sentences.
    """

    target: Path
    rank: int
    modules: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    adapter: PeftAdapter
    weight: float
    manifest: Manifest | None


def combine_adapters(parts: Sequence[tuple[Path, float]], target: Path) -> CombineReport:
    """Writes one adapter whose change of the base is the weighted sum of the changes of all ``parts``.

    Args:
        parts: adapter folders in PEFT's format and their weights; 1 leaves an adapter as it is, 0.5 halves what it
            changes, and a negative weight takes it away. The first one's chat template goes with the result.
        target: a folder that does not exist yet or is empty.

    Raises:
        UserError: an adapter cannot be read or added up exactly, they belong to different bases, or the target is
            taken; every reason.
        OSError: the target cannot be written; nothing is left behind then.
    """
    read = _read(parts)
    problems = [*folder_problems(target), *_other_bases(read), *_not_additive(read), *_other_shapes(read)]
    if problems:
        raise UserError(*problems)
    changes: dict[str, list[tuple[LowRank, float]]] = {}
    for part in read:
        for change in part.adapter.modules:
            changes.setdefault(change.module, []).append((change, part.weight))
    ranks = {module: sum(change.a.shape[0] for change, _ in found) for module, found in changes.items()}
    notes = tuple(_notes(read))
    write_adapter(
        target,
        tensors=_tensors(changes, read),
        config=_config(read, ranks),
        card=combined_card(
            base=_base(read),
            licence=next((part.manifest.licence for part in read if part.manifest), ""),
            parts=[(part.adapter.folder.name, part.weight) for part in read],
            rank=max(ranks.values(), default=0),
            notes=notes,
        ),
        manifest=_manifest(read),
    )
    return CombineReport(target, max(ranks.values(), default=0), len(ranks), notes)


def _read(parts: Sequence[tuple[Path, float]]) -> list[_Part]:
    problems: list[Problem] = []
    read = []
    if not parts:
        problems.append(error("", "No adapters were given to combine.", "Name at least one."))
    for folder, weight in parts:
        if not math.isfinite(weight) or weight == 0.0:
            message = f"The weight {weight:g} of “{folder.name}” leaves nothing of it, or is no number."
            problems.append(error(str(folder), message, "Give it a weight such as 1 or 0.5, or leave it out."))
        try:
            read.append(_Part(read_peft_adapter(folder), weight, read_manifest(folder)))
        except UserError as failure:
            problems += failure.problems
    if problems:
        raise UserError(*problems)
    return read


def _other_bases(parts: Sequence[_Part]) -> list[Problem]:
    known = [part for part in parts if part.manifest is not None and part.manifest.base_fingerprint]
    found = []
    for part in known[1:]:
        assert part.manifest is not None
        assert known[0].manifest is not None
        if part.manifest.base_fingerprint != known[0].manifest.base_fingerprint:
            message = (
                f"The adapters were trained on different base models: “{known[0].adapter.folder.name}” on "
                f"“{known[0].manifest.base_name}”, “{part.adapter.folder.name}” on “{part.manifest.base_name}”."
            )
            found.append(error(str(part.adapter.folder), message, "Combine adapters of one base model."))
    return found


def _not_additive(parts: Sequence[_Part]) -> list[Problem]:
    found = []
    holders: dict[str, str] = {}
    for part in parts:
        folder = str(part.adapter.folder)
        if len(parts) > 1 or part.weight != 1.0:
            if any(change.magnitude is not None for change in part.adapter.modules):
                message = "This is a DoRA adapter, which divides by the length of the changed weights: no sum is exact."
                found.append(error(folder, message, _ADVICE_MERGE))
            if part.adapter.replacements and part.weight != 1.0:
                name = next(iter(part.adapter.replacements))
                message = f"The adapter holds “{name}” in full, and its change is not known without the base."
                found.append(error(folder, message, "Give this adapter the weight 1."))
        for name in part.adapter.replacements:
            if name in holders:
                both = f"Both this adapter and “{holders[name]}” hold “{name}” in full"
                message = f"{both}; one cannot be added to the other."
                found.append(error(folder, message, _ADVICE_MERGE))
            holders.setdefault(name, part.adapter.folder.name)
    return found


def _other_shapes(parts: Sequence[_Part]) -> list[Problem]:
    sizes: dict[str, tuple[int, int]] = {}
    found = []
    for part in parts:
        wrong = [
            change.module
            for change in part.adapter.modules
            if sizes.setdefault(change.module, (change.out_features, change.in_features))
            != (change.out_features, change.in_features)
        ]
        if wrong:
            message = f"{len(wrong)} modules, such as “{wrong[0]}”, have another shape than in the adapters before it."
            found.append(error(str(part.adapter.folder), message, "Combine adapters of one base model."))
    return found


def _tensors(
    changes: Mapping[str, Sequence[tuple[LowRank, float]]], parts: Sequence[_Part]
) -> "dict[str, torch.Tensor]":
    """PEFT's tensors; what a part's scaling and weight say is put into B, so that the sum has the scaling 1."""
    import torch

    from core.export.deltas import read_wide

    made = {}
    for module, found in changes.items():
        name = f"base_model.model.{module}"
        made[f"{name}.lora_A.weight"] = torch.cat([read_wide(change.a) for change, _ in found])
        beside = [read_wide(change.b) * (change.scaling * weight) for change, weight in found]
        made[f"{name}.lora_B.weight"] = torch.cat(beside, dim=1)
        if found[0][0].magnitude is not None:  # one adapter, as it is
            made[f"{name}.lora_magnitude_vector"] = read_wide(found[0][0].magnitude)
    for part in parts:
        for name, stored in part.adapter.replacements.items():
            made[f"base_model.model.{name}"] = read_wide(stored)
    return made


def _config(parts: Sequence[_Part], ranks: Mapping[str, int]) -> dict[str, object]:
    usual = max(ranks.values(), default=1)
    others = {"^" + re.escape(module): rank for module, rank in ranks.items() if rank != usual}
    configs = [read_adapter_config(part.adapter.folder) for part in parts]
    saved = {str(name) for config in configs for name in config.get("modules_to_save") or ()}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "base_model_name_or_path": parts[0].adapter.base,
        "revision": configs[0].get("revision"),
        "r": usual,
        "lora_alpha": usual,
        "rank_pattern": others,
        "alpha_pattern": dict(others),
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": any(change.magnitude is not None for part in parts for change in part.adapter.modules),
        "target_modules": sorted(ranks),
        "modules_to_save": sorted(saved) or None,
        "fan_in_fan_out": any(part.adapter.fan_in_fan_out for part in parts),
        "ensure_weight_tying": any(part.adapter.keeps_tie for part in parts),
        "init_lora_weights": True,
    }


def _manifest(parts: Sequence[_Part]) -> Manifest:
    known = [part.manifest for part in parts if part.manifest is not None]
    first = known[0] if known else Manifest(_base(parts), "")
    return Manifest(
        base_path=first.base_path,
        base_fingerprint=first.base_fingerprint,
        template=first.template if parts[0].manifest is not None else "",
        licence=first.licence,
        revision=first.revision,
        versions=first.versions,
    )


def _base(parts: Sequence[_Part]) -> str:
    return next((part.manifest.base_path for part in parts if part.manifest), parts[0].adapter.base)


def _notes(parts: Sequence[_Part]) -> list[str]:
    notes = []
    templates = {part.manifest.template for part in parts if part.manifest is not None}
    if len(templates) > 1:
        notes.append(
            "The adapters were trained with different chat templates; the result has that of "
            f"“{parts[0].adapter.folder.name}”."
        )
    unknown = [part.adapter.folder.name for part in parts if part.manifest is None]
    if unknown and len(parts) > 1:
        names = ", ".join(f"“{name}”" for name in unknown)
        notes.append(f"{names}: nothing says for certain which base model this was trained on ({CONFIG_FILE} only).")
    return notes
