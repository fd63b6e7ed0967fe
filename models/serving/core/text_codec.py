"""Text to token ids and back, piece by piece: of a model with `tokenizer.json` beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import BadArtifact
from ...extras import needed

if TYPE_CHECKING:
    from ...artifact import Artifact

TOKENIZER = "tokenizer.json"
LEAST_LONGEST = 16
END = "end_tokens"  # in the manifest's preprocessing: texts of the tokens that end an answer
HALF = "\ufffd"  # of a character whose other bytes are in the next token


class TextCodec:
    """Raises BadArtifact for a tokenizer that cannot be read."""

    def __init__(self, content: str, end_tokens: tuple[str, ...] = ()) -> None:
        try:
            self._tokenizer: Any = needed("tokenizers").Tokenizer.from_str(content)
        except Exception as error:  # the package has no class of its own
            raise BadArtifact(
                f"{TOKENIZER} cannot be read ({str(error)[:200]}); fetch or make the model again"
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.ends = {found for token in end_tokens if (found := self._tokenizer.token_to_id(token)) is not None}
        self.vocabulary: int = self._tokenizer.get_vocab_size()
        self.longest = max(LEAST_LONGEST, *map(len, self._tokenizer.get_vocab()))  # characters of a token

    @classmethod
    def of(cls, artifact: Artifact) -> TextCodec | None:
        """None for a model without a tokenizer, which takes token ids only."""
        if TOKENIZER not in artifact.manifest.files:
            return None
        ends = artifact.manifest.preprocessing.get(END, [])
        words = tuple(str(end) for end in ends) if isinstance(ends, list) else ()
        path = artifact.file(TOKENIZER)
        try:
            return cls(path.read_text("utf-8"), words)
        except (OSError, UnicodeDecodeError) as error:
            raise BadArtifact(f"{path} cannot be read ({error}); fetch or make the model again") from error

    def ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode_batch([text])[0].ids)  # unlike `encode` it lets other threads run

    def text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids))


class TextPieces:
    """The text that each new token adds; half of a character waits for the rest."""

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec
        self._ids: list[int] = []
        self._said = 0

    def add(self, token: int) -> str:
        self._ids.append(token)
        return self._new(held=True)

    def rest(self) -> str:
        return self._new(held=False)

    def _new(self, held: bool) -> str:
        text = self._codec.text(self._ids)
        if held and text.endswith(HALF):
            return ""
        new, self._said = text[self._said :], max(self._said, len(text))
        return new
