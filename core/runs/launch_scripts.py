"""Ready shell scripts that train a spec on several GPUs or machines with torchrun, alone or under Slurm."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.runs.child_env import ENGINE_DEFAULTS

ScriptKind = Literal["torchrun", "slurm"]

_PORT = 29500
_GRACE_SECONDS = 180
"""Slurm sends SIGTERM so long before it ends a job: the processes agree on a step, save and end."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a script is about.

    Attributes:
        spec: the settings file.
        folder: the run folder, which every machine must see under this path.
        nodes: how many machines; `processes`: how many processes on each, one for each GPU.
        gpus: whether the processes compute on GPUs (Slurm is then asked for them).
    """

    kind: ScriptKind
    spec: Path
    folder: Path
    nodes: int
    processes: int
    gpus: bool = True

    def text(self) -> str:
        """The script, for bash."""
        lines = ["#!/usr/bin/env bash"]
        if self.kind == "slurm":
            lines += self._slurm_head()
        lines += ["set -euo pipefail", "", *self._words(), *self._environment(), "", *self._prepare(), "", *self._run()]
        return "\n".join(lines) + "\n"

    def _slurm_head(self) -> list[str]:
        head = {
            "job-name": self.folder.name,
            "nodes": str(self.nodes),
            "ntasks-per-node": "1",
            "signal": f"TERM@{_GRACE_SECONDS}",
            "output": f"{self.folder.name}-%j.log",
        }
        if self.gpus:
            head["gpus-per-node"] = str(self.processes)
        lines = [f"#SBATCH --{name}={value}" for name, value in head.items()]
        return [*lines, "# Add what your cluster asks for: --partition, --account, --time, --cpus-per-task."]

    def _words(self) -> list[str]:
        again = "Run it again to go on from the last saved state."
        if self.kind == "slurm":
            return [f"# Submit with sbatch. {again}", "# All machines must see the paths below."]
        if self.nodes == 1:
            return [f"# {again}"]
        return [
            "# Start it on every machine, with the address of the first one and another number on each:",
            f"#   MASTER_ADDR=first-machine NODE_RANK=0 bash SCRIPT   (… NODE_RANK={self.nodes - 1})",
            f"# All machines must see the paths below. {again}",
        ]

    def _environment(self) -> list[str]:
        root = Path(__file__).resolve().parents[2]
        lines = [
            f"PYTHON={shlex.quote(sys.executable)}",
            f"SPEC={shlex.quote(str(self.spec))}",
            f"RUN={shlex.quote(str(self.folder))}",
        ]
        if root.name not in ("site-packages", "dist-packages"):
            lines.append(f'export PYTHONPATH={shlex.quote(str(root))}"${{PYTHONPATH:+:$PYTHONPATH}}"')
        return lines + [f'export {name}="${{{name}:-{value}}}"' for name, value in ENGINE_DEFAULTS.items()]

    def _prepare(self) -> list[str]:
        """The plan is made where the run takes place, because the machine that writes the script may have no GPU."""
        make = f'"$PYTHON" -m core run "$SPEC" --processes {self.processes} --prepare "$RUN"'
        if self.kind == "torchrun" and self.nodes > 1:
            return [
                'if [ "${NODE_RANK:?}" = 0 ] && [ ! -e "$RUN/plan.json" ]; then',
                f"  {make}",
                "fi",
                'until [ -e "$RUN/plan.json" ]; do sleep 1; done',
            ]
        return [f'[ -e "$RUN/plan.json" ] || {make}']

    def _run(self) -> list[str]:
        launch = f'"$PYTHON" -m torch.distributed.run --nproc-per-node {self.processes}'
        engine = '-m core.engine "$RUN"'
        if self.nodes == 1 and self.kind == "torchrun":
            return [f"exec {launch} --standalone {engine}"]
        if self.kind == "torchrun":
            place = f'--nnodes {self.nodes} --node-rank "$NODE_RANK" --master-addr "${{MASTER_ADDR:?}}"'
            return [f'exec {launch} {place} --master-port "${{MASTER_PORT:-{_PORT}}}" {engine}']
        meet = f'--rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$FIRST:{_PORT}"'
        return [
            'FIRST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            f"srun {launch} --nnodes {self.nodes} {meet} {engine}",
        ]
