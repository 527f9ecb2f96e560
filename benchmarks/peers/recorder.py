"""Watches a trainer that is built on transformers' Trainer: losses, tokens and times by optimizer step."""

import time
from pathlib import Path
from typing import Any

from benchmarks.peers.settings import Result, StepRecord, peak_of


class Recorder:
    """Wraps ``Trainer.training_step``, through which every pass of every such trainer goes."""

    def __init__(self, name: str) -> None:
        import transformers

        self.result = Result(name, 0, [])
        self._pass = [0.0, 0, 0, 0]  # loss, tokens, supervised tokens and slots of the step in the making
        step_of = transformers.Trainer.training_step
        recorder = self

        def training_step(trainer: Any, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
            recorder.see(inputs)
            loss = step_of(trainer, model, inputs, *rest, **named)
            recorder.add(float(loss))
            return loss

        transformers.Trainer.training_step = training_step

        class Clock(transformers.TrainerCallback):  # type: ignore[misc]
            def on_step_end(self, *_: Any, **__: Any) -> None:
                recorder.close_step()

        self.callback = Clock()

    def see(self, inputs: Any) -> None:
        """Counts a pass before the trainer takes it apart. The first token of a document is never predicted."""
        ids, labels = inputs["input_ids"], inputs["labels"]
        documents = documents_of(inputs)
        self._pass[1] += sum(len(tokens) for tokens, _ in documents)
        self._pass[2] += sum(label != -100 for _, marks in documents for label in marks[1:])
        self._pass[3] += ids.numel()
        if labels.shape != ids.shape:
            raise ValueError("labels and tokens are of different shapes")
        if not self.result.steps:
            self.result.first += [[tokens, marks] for tokens, marks in documents]

    def add(self, loss: float) -> None:
        """A pass's share of the step's loss: transformers has divided it by the whole step's tokens already."""
        self._pass[0] += loss

    def close_step(self) -> None:
        """An optimizer step is over."""
        loss, tokens, supervised, slots = self._pass
        self.result.steps.append(StepRecord(loss, int(tokens), int(supervised), int(slots), time.monotonic()))
        self._pass = [0.0, 0, 0, 0]
        print(f"step {len(self.result.steps)}: loss {loss:.4f}, {tokens} tokens, {supervised} supervised", flush=True)

    def finish(self, path: str, *libraries: str) -> None:
        """Writes what was seen, with the versions of the libraries that did the work."""
        from importlib.metadata import version

        self.result.versions = {name: version(name) for name in libraries}
        self.result.peak_bytes = peak_of()
        self.result.write(Path(path))


def documents_of(inputs: Any) -> list[tuple[list[int], list[int]]]:
    """Tokens and labels of every document of a pass, padding left out, however the trainer laid them down."""
    found = []
    for row, (ids, labels) in enumerate(zip(inputs["input_ids"], inputs["labels"], strict=True)):
        kept = _kept(inputs.get("attention_mask"), row, ids)
        starts = [0]
        if inputs.get("position_ids") is not None:
            positions = inputs["position_ids"][row].tolist()
            starts = [place for place, position in enumerate(positions) if position == 0 and kept[place]]
        for start, end in zip(starts, [*starts[1:], len(kept)], strict=True):
            places = [place for place in range(start, end) if kept[place]]
            found.append(([int(ids[place]) for place in places], [int(labels[place]) for place in places]))
    return found


def _kept(mask: Any, row: int, ids: Any) -> list[bool]:
    if mask is None:
        return [True] * len(ids)
    if mask.dim() == 2:
        return [bool(value) for value in mask[row].tolist()]
    allowed = mask[row, 0].diagonal()  # a mask of pairs: a token that may not see itself is padding
    return [bool(value) for value in (allowed if allowed.dtype.is_floating_point is False else allowed == 0).tolist()]
