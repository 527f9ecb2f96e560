"""Lowrank Studio's side of the comparison: a run like any other, with an engine process of its own.

`python -m benchmarks.peers.ours JOB`; it runs in the project's own environment.
"""

import sys
from pathlib import Path

from benchmarks.peers.settings import (
    ALPHA,
    LEARNING_RATE,
    MAX_LENGTH,
    RANK,
    ROWS_A_STEP,
    SEED,
    Job,
    Result,
    StepRecord,
    peak_of,
)  # fmt: skip
from core.events.types import Event, Hello, Started, Step
from core.runs.prepare import prepare
from core.runs.store import create_run
from core.runs.supervisor import Supervisor
from core.spec.run_spec import RunSpec


def spec_of(job: Job, data: Path) -> RunSpec:
    """The comparison's settings as a spec."""
    spec = RunSpec().replace("model.base", job.model).replace("data.train", (str(data),))
    for path, value in {
        "hardware.device": "cpu",
        "hardware.threads": job.threads,
        "hardware.activation_checkpointing": "off",
        "model.quantization": "none",
        "model.compute_dtype": "bf16",
        "data.max_length": MAX_LENGTH,
        "data.validation_share": 0.0,
        "adapter.rank": RANK,
        "adapter.alpha": float(ALPHA),
        "training.seed": SEED,
        "training.effective_batch": ROWS_A_STEP,
        "training.micro_batch_tokens": MAX_LENGTH,
        "training.max_steps": job.steps,
        "training.learning_rate": LEARNING_RATE,
        "training.schedule": "constant",
        "training.warmup": 0.0,
        "training.checkpoint_minutes": 0.0,
        "output.folder": str(Path(job.folder) / "runs"),
    }.items():
        spec = spec.replace(path, value)
    return spec


def main() -> None:
    job = Job.read(sys.argv[1])
    prepared = prepare(spec_of(job, Path(sys.argv[2])))
    blocking = [problem for problem in prepared.plan.problems if problem.severity == "error"]
    if blocking:
        raise SystemExit("\n".join(map(str, blocking)))
    folder = create_run(prepared.spec, prepared.facts, prepared.plan)
    result = Result("ours", 0, [])
    pids: list[int] = []

    def see(event: Event) -> None:
        body = event.body
        if isinstance(body, Hello):
            pids.append(body.pid)
            result.versions["torch"] = body.torch
        elif isinstance(body, Started):
            result.notes = f"attention {body.attention}, loss head {body.loss_head}"
        elif isinstance(body, Step):
            step = StepRecord(body.loss, body.tokens, body.supervised_tokens, body.tokens, event.time)
            result.steps.append(step)
            speed = body.tokens / body.seconds
            print(
                f"step {body.step}: loss {body.loss:.4f}, {body.tokens} tokens in {body.passes} passes, {speed:.1f}/s"
            )
        if pids:
            result.peak_bytes = max(result.peak_bytes, peak_of(pids[-1]))

    supervisor = Supervisor(folder)
    supervisor.start()
    outcome = supervisor.wait(on_event=see)
    if outcome is None or outcome.kind != "completed":
        raise SystemExit(f"{outcome}\n{folder.log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
    result.write(Path(job.result))


if __name__ == "__main__":
    main()
