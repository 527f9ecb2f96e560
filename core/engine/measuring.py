"""What a run says about its memory and speed: to whoever watches, and to the records that the next plan rests on."""

from core.engine.session import Session
from core.events.types import MemoryMeasured, Notice
from core.plan.hindsight import measurable_bytes, uncorrected
from core.plan.types import Plan
from core.runs.device_records import Measurement, remember

FIRST_REPORT = 3
"""The step after which memory is told for the first time: optimizer states and kernels' own buffers are there."""


def report_memory(session: Session) -> MemoryMeasured:
    """Says what training has taken so far, beside the plan's prediction."""
    meter, planned = session.meter, session.order.plan.memory
    peaks = {str(moment): peak for moment, peak in meter.peaks.items()}
    seen = _plan_of_what_ran(session).memory if session.pace.largest_pass else None
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
        counted_bytes=measurable_bytes(seen) if seen is not None else 0,
    )
    session.context.emit(body)
    return body


def remember_run(session: Session, measured: MemoryMeasured) -> None:
    """Adds the run to the records of its device. Records are a help and never a reason to fail."""
    if session.group is not None:
        return  # what one of several processes took says nothing about a run with one
    planned_passes = session.order.plan.choices.micro_batch_tokens.value
    if not measured.pass_tokens or session.counters.micro_batch_tokens != planned_passes:
        return  # nothing was trained, or in smaller passes than planned because memory ended before its peak
    duration = _plan_of_what_ran(session).duration
    speed = None
    if duration is not None and duration.tokens_per_second and measured.token_seconds:
        speed = measured.token_seconds * duration.tokens_per_second
    outside = measured.shown_bytes - measured.peak_bytes if session.device.type == "cuda" else None
    residual = measured.residual if measured.counted_bytes else None
    if session.layers.name != "plain":  # plans count plain layers, in time and in memory
        residual = None
        speed = speed * session.layers.ratio if speed is not None and session.layers.ratio else None
    try:
        remember(measured.device, Measurement(residual, outside, speed))
    except OSError as failure:
        message = f"What this run measured could not be kept for later plans: {failure.strerror or failure}."
        session.context.emit(Notice("warning", "records_not_written", message))


def _plan_of_what_ran(session: Session) -> Plan:
    order = session.order
    return uncorrected(order.spec, order.facts, order.plan.choices, session.pace.largest_pass)


def _device_name(session: Session) -> str:
    hardware, device = session.order.facts.hardware, session.order.plan.choices.device.value
    if session.device.type == "cpu":
        return hardware.cpu.name
    return next((gpu.name for gpu in hardware.gpus if f"cuda:{gpu.index}" == device), device)
