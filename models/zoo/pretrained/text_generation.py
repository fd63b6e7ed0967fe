"""Text generation: a language model and its tokenizer.

    TextGenerationModel.from_pretrained("deepseek/smollm2-135m-instruct").generate("DeepSeek is a ", max_length=50)

Shapes: B batch of 1, T tokens, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, SupportsFloat

from ...errors import ModelsError, needed
from ...runtimes import MOST_THREADS
from ..loaders import gguf_models, transformers_models
from ..table import ZooRow
from .arguments import text_of, whole
from .pretrained import found

TASK = "text-generation"
MOST_TOKENS, MOST_SEED = 1_000_000, 2**63 - 1
COLDEST, HOTTEST = 0.01, 100.0


class TextGenerationModel:
    """For one thread at a time. `threads` are PyTorch's, those of the whole process while a text is made: more than are free slow it down."""

    def __init__(self, row: ZooRow, model: Any, tokenizer: Any, threads: int = 1) -> None:
        self.row, self.threads, self._model, self._tokenizer = row, threads, model, tokenizer

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> TextGenerationModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, TASK, accept_licence, cls.__name__)
        if row.loader == "gguf":
            return cls._opened(row, gguf_models.converted(row, files))
        with transformers_models.only(row, files) as folder:
            return cls._opened(row, folder)

    @classmethod
    def _opened(cls, row: ZooRow, folder: Path) -> TextGenerationModel:
        tokenizer = needed("transformers").AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        return cls(row, transformers_models.loaded(row, folder), tokenizer)

    def generate(self, prompt: str, max_length: int = 50, temperature: float = 0.0, seed: int = 0) -> str:
        """The prompt and its continuation, `max_length` tokens together at most; the most probable ones at temperature 0."""
        prompt_ids = self._tokenizer(text_of(prompt, "a prompt"))["input_ids"]
        ids = [*prompt_ids, *self._tokens(prompt_ids, max_length, temperature, seed)]
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def stream(self, prompt: str, max_length: int = 50, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        """The continuation piece by piece, as its tokens come."""
        prompt_ids = self._tokenizer(text_of(prompt, "a prompt"))["input_ids"]
        ids: list[int] = []
        given = ""
        for token in self._tokens(prompt_ids, max_length, temperature, seed):
            ids.append(token)
            text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
            if not text.endswith("\ufffd"):  # half a character
                yield text[len(given) :]
                given = text

    def _tokens(self, prompt_ids: list[int], max_length: int, temperature: float, seed: int) -> Iterator[int]:
        torch = needed("torch")
        before = torch.get_num_threads()
        torch.set_num_threads(whole(self.threads, 1, MOST_THREADS, "threads"))
        try:
            yield from self._next_tokens(prompt_ids, max_length, temperature, seed)
        finally:
            torch.set_num_threads(before)

    def _next_tokens(self, prompt_ids: list[int], max_length: int, temperature: float, seed: int) -> Iterator[int]:
        torch = needed("torch")
        if not prompt_ids:
            raise ModelsError("an empty prompt has no continuation: give at least a word")
        longest = int(self.row.preprocessing.get("longest", MOST_TOKENS))
        max_length = whole(max_length, 0, longest, f"max_length of {self.row.name}")
        seed = whole(seed, 0, MOST_SEED, "the seed")
        if not isinstance(temperature, SupportsFloat) or not (temperature == 0 or COLDEST <= temperature <= HOTTEST):
            raise ModelsError(
                f"a temperature of {str(temperature)[:50]} has no meaning: give 0 for the most probable tokens, or {COLDEST:g} to {HOTTEST:g}"
            )
        ends = self._model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        chance = torch.Generator().manual_seed(seed)
        input_BT = torch.tensor([prompt_ids])
        kept = {_cache_name(self._model): needed("transformers").DynamicCache()}  # grows with each call
        for _ in range(max_length - len(prompt_ids)):
            with torch.inference_mode():
                output = self._model(input_ids=input_BT, use_cache=True, **kept)
            logits_V = output.logits[0, -1].float()
            if temperature:
                token = int(torch.multinomial(torch.softmax(logits_V / float(temperature), 0), 1, generator=chance))
            else:
                token = int(logits_V.argmax())
            if token in ends:
                return
            yield token
            input_BT = torch.tensor([[token]])


def _cache_name(model: Any) -> str:
    """What the library calls it: `cache` from 5.20 or so, `past_key_values` before."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
