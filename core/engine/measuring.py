"""What a run says about its memory and speed: to whoever watches, and to the records that the next plan rests on."""

from core.engine.session import Session
from core.events.types import MemoryMeasured, Notice
from core.plan.hindsight import measurable_bytes, uncorrected
from core.runs.device_records import Measurement, remember

FIRST_REPORT = 3
"""The step after which memory is told for the first time: optimizer states and kernels' own buffers are there."""


def report_memory(session: Session) -> MemoryMeasured:
    """Says what training has taken so far, beside the plan's prediction."""
    meter, planned = session.meter, session.order.plan.memory
    peaks = {str(moment): peak for moment, peak in meter.peaks.items()}
    body = MemoryMeasured(
        step=session.counters.step,
        device=_device_name(session),
        predicted_bytes=measurable_bytes(planned) if planned is not None else 0,
        peak_bytes=max((peak for moment, peak in peaks.items() if moment != "saving"), default=0),
        peaks=peaks,
        reserved_bytes=meter.reserved,
        shown_bytes=meter.shown(),
        pass_tokens=session.pace.largest_pass,
        token_seconds=session.pace.token_seconds,
    )
    session.context.emit(body)
    return body


def remember_run(session: Session, measured: MemoryMeasured) -> None:
    """Adds the run to the records of its device. Records are a help and never a reason to fail."""
    order, planned_passes = session.order, session.order.plan.choices.micro_batch_tokens.value
    if not measured.pass_tokens or session.counters.micro_batch_tokens != planned_passes:
        return  # nothing was trained, or in smaller passes than planned because memory ended before its peak
    plan = uncorrected(order.spec, order.facts, order.plan.choices, measured.pass_tokens)
    memory, duration = plan.memory, plan.duration
    expected = measurable_bytes(memory) if memory is not None else 0
    residual = measured.peak_bytes / expected - 1 if expected else None
    speed = None
    if duration is not None and duration.tokens_per_second and measured.token_seconds:
        speed = measured.token_seconds * duration.tokens_per_second
    outside = measured.shown_bytes - measured.peak_bytes if session.device.type == "cuda" else None
    try:
        remember(measured.device, Measurement(residual, outside, speed))
    except OSError as failure:
        message = f"What this run measured could not be kept for later plans: {failure.strerror or failure}."
        session.context.emit(Notice("warning", "records_not_written", message))


def _device_name(session: Session) -> str:
    hardware, device = session.order.facts.hardware, session.order.plan.choices.device.value
    if session.device.type == "cpu":
        return hardware.cpu.name
    return next((gpu.name for gpu in hardware.gpus if f"cuda:{gpu.index}" == device), device)
