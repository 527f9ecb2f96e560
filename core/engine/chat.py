"""Job ``chat``: one model, loaded once, that answers until nobody needs it any more."""

import gc
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Literal

import torch

from core.data.prompts import encode_conversation
from core.data.streaming import TextStream
from core.data.template_traits import added_system_text
from core.engine import bootstrap
from core.engine.context import JobContext
from core.engine.failures import describe, is_out_of_memory
from core.engine.respondent import Respondent, load_respondent
from core.engine.sampling import Answer, Sampling, answer
from core.errors import Failure, FailureKind, JobError, UserError, error
from core.events.types import ChatAnswer, ChatEnd, ChatPiece, ChatReady, ChatVoice, Completed, Notice
from core.runs.chat_protocol import Ask, Cancel, Drop, RequestError, RequestTail, decode_request
from core.runs.process_tree import ProcessKey, is_alive
from core.runs.voices import Voice
from core.units import format_duration

IDLE_SECONDS = 30 * 60.0
LISTEN_SECONDS = 0.025
OWNER_SECONDS = 1.0
PIECE_SECONDS = 0.04

_NO_MEMORY = (
    "Close other programs, wait for a training to end, or shorten the conversation; a smaller model or 4-bit weights "
    "need less."
)


def chat(context: JobContext, arguments: dict[str, Any]) -> None:
    """Loads a model and answers the requests in the folder (`core.runs.chat_protocol`).

    It ends when asked to stop, when the process that wants it is gone, or when nobody has asked for a while.

    Args:
        context: the job's side of the protocol.
        arguments: those of `load_respondent`; ``owner_pid`` and ``owner_birth``, the process without which the chat
            has no purpose (0 for none); and ``idle_seconds``.

    Raises:
        JobError: the model cannot be loaded.
    """
    began = time.monotonic()
    if context.owns_process:
        bootstrap.lower_priority()
    with context.phase("load", f"Loading {Path(arguments['model']).name}"):
        respondent = _load(arguments)
    facts, device = respondent.facts, str(respondent.device)
    context.emit(
        ChatReady(
            voices=tuple(respondent.manners),
            template=respondent.template.name,
            context_length=facts.context_length,
            device=device,
            seconds=time.monotonic() - began,
            system=added_system_text(respondent.template),
        )
    )
    desk = _Desk(context, arguments)
    answered = 0
    while not desk.closing:
        request = desk.next()
        if request is None:
            time.sleep(LISTEN_SECONDS)
            continue
        if isinstance(request, Ask):
            context.emit(_Turn(context, respondent, desk, request).take())
            answered += 1
        else:
            context.emit(_change_voices(respondent, request))
        desk.was_used()
    context.emit(Completed(0, time.monotonic() - began, desk.closing, {"answers": answered}))


def _load(arguments: dict[str, Any]) -> Respondent:
    """The model, with words for a chat where a training's would mislead."""
    try:
        return load_respondent(arguments)
    except Exception as failure:
        if not is_out_of_memory(failure):
            raise
        name = Path(arguments["model"]).name
        raise JobError(
            FailureKind.OUT_OF_MEMORY, f"There is not enough memory to load {name} for a chat.", _NO_MEMORY
        ) from failure


def _change_voices(respondent: Respondent, wish: Voice | Drop) -> ChatVoice:
    """Puts an adapter on the model or takes one off; whatever stands against it is an answer too."""
    began = time.monotonic()
    name = wish.name if isinstance(wish, Voice) else wish.voice
    try:
        if isinstance(wish, Drop):
            respondent.drop(name)
            parameters = 0
        else:
            respondent.bring(wish)
            parameters = _parameters(respondent.model, name)
    except torch.AcceleratorError:
        raise
    except Exception as broken:  # noqa: BLE001 (those who can be asked already still can)
        failure = _words(broken)
    else:
        state: Literal["ready", "gone"] = "gone" if isinstance(wish, Drop) else "ready"
        return ChatVoice(name, state, time.monotonic() - began, parameters)
    _give_memory_back(respondent.device)
    return ChatVoice(name, "refused", time.monotonic() - began, 0, failure.message, failure.hint)


def _parameters(model: torch.nn.Module, adapter: str) -> int:
    """How many numbers an adapter has."""
    named = model.named_parameters()
    return sum(parameter.numel() for key, parameter in named if f".{adapter}." in f"{key}.")


def _give_memory_back(device: torch.device) -> None:
    """Call it behind the handler of an exception, whose traceback holds the tensors."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class _Desk:
    """Where requests arrive: keeps them in order, knows which were cancelled, and when to close.

    Attributes:
        closing: why to close, as a sentence; empty as long as there is somebody to answer.
    """

    def __init__(self, context: JobContext, arguments: dict[str, Any]) -> None:
        self._context = context
        self._tail = RequestTail(context.folder.chat_requests)
        self._waiting: deque[Ask | Voice | Drop] = deque()
        self._cancelled: set[str] = set()
        pid = int(arguments.get("owner_pid", 0))
        self._owner = ProcessKey(pid, str(arguments.get("owner_birth", ""))) if pid else None
        self._owner_seen = self._heard = 0.0
        self._idle_seconds = float(arguments.get("idle_seconds", IDLE_SECONDS))
        self._used = time.monotonic()

    def next(self) -> Ask | Voice | Drop | None:
        """The oldest wish that has not been fulfilled."""
        self._listen()
        return self._waiting.popleft() if self._waiting else None

    def was_used(self) -> None:
        """Being idle begins now."""
        self._used = time.monotonic()

    @property
    def closing(self) -> str:
        """Why to close; empty as long as somebody may ask."""
        now = time.monotonic()
        if self._context.interrupted:
            return "The system asked the engine to end." if self._context.signalled else "The chat was closed."
        if not self._waiting and now - self._used > self._idle_seconds:
            return f"Nobody asked anything for {format_duration(self._idle_seconds)}, so the model was put away."
        if self._owner is not None and now - self._owner_seen >= OWNER_SECONDS:
            if not is_alive(self._owner):
                return "The program that asked for the chat is gone."
            self._owner_seen = now
        return ""

    def wants(self, request: str) -> bool:
        """Whether an answer is still waited for; asked after every token."""
        self.was_used()
        self._listen()
        return request not in self._cancelled and not self.closing

    def _listen(self) -> None:
        now = time.monotonic()
        if now - self._heard < LISTEN_SECONDS / 2:
            return
        self._heard = now
        for line in self._tail.read():
            try:
                request = decode_request(line)
            except RequestError as failure:
                message = f"A question could not be read and was left out: {failure}."
                self._context.emit(Notice("warning", "chat_request", message))
                continue
            if isinstance(request, Cancel):
                self._cancelled.add(request.request)
            else:
                self._waiting.append(request)


class _Turn:
    """One question on its way to an answer."""

    def __init__(self, context: JobContext, respondent: Respondent, desk: _Desk, ask: Ask) -> None:
        self._context = context
        self._respondent = respondent
        self._desk = desk
        self._ask = ask
        self._stream = TextStream(respondent.tokenizer)
        self._began = time.monotonic()
        self._shown = self._first = 0.0
        self._prompt_tokens = self._tokens = 0
        self._stop_ids: tuple[int, ...] = ()

    def take(self) -> ChatAnswer:
        """Answers, piece by piece, and returns how it went; an error is an answer too.

        Raises:
            torch.AcceleratorError: the device is lost for this process, and with it the chat.
        """
        if not self._desk.wants(self._ask.request):
            return self._answer("cancelled")
        try:
            return self._speak()
        except torch.AcceleratorError:
            raise
        except Exception as broken:  # noqa: BLE001 (whatever one question breaks, the next one may be answered)
            failure = _words(broken)
            no_memory = is_out_of_memory(broken)
        if no_memory:
            _give_memory_back(self._respondent.device)
        return self._answer("failed", failure.message, failure.hint)

    def _speak(self) -> ChatAnswer:
        ask, model = self._ask, self._respondent
        ask.check()
        manner = model.manner(ask.voice)
        self._stop_ids = manner.stop_ids
        prompt = encode_conversation(ask.messages, model.tokenizer, manner.template)
        self._prompt_tokens = len(prompt)
        room = self._room(len(prompt))
        wanted = min(ask.sampling.max_new_tokens, room)
        with model.speaking_as(ask.voice):
            spoken = answer(
                model.model,
                model.tokenizer,
                prompt,
                stop_ids=manner.stop_ids,
                sampling=Sampling(
                    max_new_tokens=wanted,
                    temperature=ask.sampling.temperature,
                    top_p=ask.sampling.top_p,
                    seed=ask.sampling.seed,
                    top_k=ask.sampling.top_k,
                    repetition_penalty=ask.sampling.repetition_penalty,
                ),
                device=model.device,
                keep_going=lambda: self._desk.wants(ask.request),
                on_token=self._on_token,
            )
        self._show()
        if _ended_itself(spoken, manner.stop_ids):
            return self._answer("end")
        if len(spoken.tokens) < wanted:
            return self._answer("cancelled")
        return self._answer("context" if wanted < ask.sampling.max_new_tokens else "length")

    def _room(self, prompt: int) -> int:
        """How many tokens fit behind the prompt.

        Raises:
            UserError: none.
        """
        context = self._respondent.facts.context_length
        if context and prompt >= context:
            raise UserError(
                error(
                    "messages",
                    f"The conversation is {prompt:,} tokens long, and the model reads {context:,} at most.",
                    "Begin a new conversation, or shorten this one.",
                )
            )
        return context - prompt if context else self._ask.sampling.max_new_tokens

    def _on_token(self, token: int) -> None:
        self._tokens += 1
        now = time.monotonic()
        if not self._first:
            self._first = now
        if token not in self._stop_ids:
            self._stream.add(token)
        if now - self._shown >= PIECE_SECONDS:
            self._show()
            self._shown = now

    def _show(self) -> None:
        piece = self._stream.take()
        if piece:
            self._context.emit(ChatPiece(self._ask.request, piece, self._tokens))

    def _answer(self, ended: ChatEnd, message: str = "", hint: str = "") -> ChatAnswer:
        return ChatAnswer(
            request=self._ask.request,
            voice=self._ask.voice,
            text=self._stream.whole(),
            ended=ended,
            tokens=self._tokens,
            prompt_tokens=self._prompt_tokens,
            seconds=time.monotonic() - self._began,
            first_token_seconds=self._first - self._began if self._first else 0.0,
            message=message,
            hint=hint,
        )


def _ended_itself(spoken: Answer, stop_ids: tuple[int, ...]) -> bool:
    return bool(spoken.tokens) and spoken.tokens[-1] in stop_ids


def _words(broken: Exception) -> Failure:
    """What to say about a question that could not be answered; the whole story goes to ``engine.log``."""
    if isinstance(broken, UserError):
        problems = broken.problems
        message = " ".join(problem.message for problem in problems)
        return Failure(FailureKind.BAD_DATA, message, problems[0].advice)
    failure = describe(broken)
    sys.stderr.write(f"{failure.detail}\n")
    if is_out_of_memory(broken):
        return Failure(FailureKind.OUT_OF_MEMORY, "The memory ran out while answering.", _NO_MEMORY, failure.detail)
    return failure
