"""Tokens to text while they come: whole characters only, and together exactly what decoding them at once would give."""

from core.data.tokenizer import Tokenizer

_BROKEN = "\ufffd"


class TextStream:
    """The text of an answer in the making, special tokens left out and white space at both ends trimmed.

    One character may take several tokens (rare scripts, emoji), so what is not yet a whole character is held back, and
    so is white space until something follows it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Begins with nothing said."""
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._given = ""

    def add(self, token: int) -> None:
        """One more token; costs nothing until the text is asked for."""
        self._tokens.append(token)

    def take(self) -> str:
        """What can be shown since the last call, perhaps nothing.

        The whole answer is decoded each time: what a token means may hang on the ones before it, and a few thousand of
        them take a millisecond.
        """
        whole = self._decoded()
        # Some tokenizers take back a character that more bytes turn out to belong to; it comes again when it is whole.
        if not whole.startswith(self._given):
            return ""
        fresh = whole[len(self._given) :]
        self._given = whole
        return fresh

    def whole(self) -> str:
        """The answer so far: what all calls of `take` returned, one after another, once it has been called last.

        Only where a tokenizer rewrites what was shown already (a space that a later word takes back) it differs, and
        is then what counts.
        """
        whole = self._decoded()
        return self._given if self._given.startswith(whole) else whole

    def _decoded(self) -> str:
        return self._tokenizer.decode(self._tokens).lstrip().rstrip(_BROKEN).rstrip()
