"""A class per task: `from_pretrained` opens what is on this host, and names what to fetch where it is missing.
Shapes: N texts, T tokens, W width of an embedding or of an image, H height, C channels, K classes.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsFloat, SupportsIndex

from ..errors import ModelsError, needed
from ..runtimes import MAX_THREADS
from . import table
from .folder import models_folder, read
from .loaders import gguf_models, transformers_models
from .loaders.fasttext_models import FasttextModel
from .loaders.loading import OpenedModel, opened
from .local_files import files_of
from .table import ZooRow

if TYPE_CHECKING:
    import numpy as np


MAX_TOP = 1_000_000  # classes to name


def text_of(value: object, what: str) -> str:
    """Raises ModelsError for what is no text, or text that has no UTF-8."""
    if not isinstance(value, str):
        raise ModelsError(f"{what} is text, and this is {type(value).__name__}: call it once for each text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ModelsError(
            f"{what} has half a character at place {error.start}: decode it from UTF-8 with errors='replace'"
        ) from error
    return value


def texts_of(values: Iterable[str], what: str) -> list[str]:
    """Raises ModelsError for a single text, whose letters would be taken one by one."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ModelsError(
            f"{what} are a list of texts, and this is {type(values).__name__}: give [text] for a single one"
        )
    return [text_of(value, f"each of {what}") for value in values]


def whole(value: object, least: int, most: int, what: str) -> int:
    """Raises ModelsError outside of least..most."""
    if not isinstance(value, SupportsIndex) or isinstance(value, bool) or not least <= index(value) <= most:
        raise ModelsError(f"{what} is {str(value)[:50]}: give a whole number from {least:,} to {most:,}")
    return index(value)


# What all classes with `from_pretrained` share: the row, its checked files, its task.


class FoundModel(NamedTuple):
    row: ZooRow
    files: dict[str, Path]  # by path, each with the hash that is pinned or locked


def found(name: str, task: str, accept: Collection[str], kind: str) -> FoundModel:
    """Downloads nothing. Raises ModelsError: no such model, another task, a licence that was not accepted, not on this host."""
    row = table.find(name)
    if row.task != task:
        raise ModelsError(
            f"{row.name} is for {row.task}, and {kind} for {task}: deepseek-models list --task {task} names those"
        )
    folder = models_folder()
    locked = read(folder).get(row.name)
    files = files_of(row, folder)
    table.require(row, locked.licence if locked else "", accept, folder)
    return FoundModel(row, files)


# From a picture to the tensor that an image model takes, as its row says.
#
# Shapes: H height, W width.

MAX_PIXELS = 50_000_000  # after resizing
FILTERS = {"bilinear": "BILINEAR", "bicubic": "BICUBIC", "nearest": "NEAREST", "lanczos": "LANCZOS"}


def prepared(image: Any, preprocessing: dict[str, Any]) -> np.ndarray[Any, Any]:
    """float32 [1, 3, H, W]: the shorter side resized, the middle cut out, scaled to 0..1, mean and deviation taken out.

    `preprocessing` has size [H, W], resize (the shorter side; None keeps the picture's own), interpolation, mean and std.
    """
    import numpy as np

    picture = _picture(image)
    if preprocessing.get("resize"):
        shorter = preprocessing["resize"] / min(picture.size)
        width, height = (max(1, round(side * shorter)) for side in picture.size)
        if width * height > MAX_PIXELS:
            raise ModelsError(
                f"an image of {picture.width} x {picture.height} pixels is too narrow to be resized: cut out the part that counts"
            )
        picture = picture.resize(
            (width, height), getattr(needed("PIL.Image").Resampling, FILTERS[preprocessing["interpolation"]])
        )
    if preprocessing.get("size"):
        height, width = preprocessing["size"]
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    values_HW3 = np.asarray(picture, np.float32) / 255
    values_HW3 = (values_HW3 - np.array(preprocessing["mean"], np.float32)) / np.array(preprocessing["std"], np.float32)
    return np.ascontiguousarray(values_HW3.transpose(2, 0, 1)[None])


def _picture(image: Any) -> Any:
    import numpy as np

    pil = needed("PIL.Image")
    if isinstance(image, pil.Image) and image.width and image.height:
        return image.convert("RGB")
    if (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.size
    ):
        return pil.fromarray(image)
    raise ModelsError("an image is a PIL image, or an array of uint8 with height, width and 3 channels")


# Classification of images.
#
# Shapes: H height, W width, C channels, K classes.

IMAGE_CLASSIFICATION_TASK = "image-classification"


class ClassShare(NamedTuple):
    label: str  # the class's name where the library knows it, else its number
    probability: float


class ImageClassificationModel:
    def __init__(self, row: ZooRow, model: OpenedModel) -> None:
        self.row, self._model = row, model

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> ImageClassificationModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, IMAGE_CLASSIFICATION_TASK, accept_licence, cls.__name__)
        return cls(row, opened(row, files))

    def classify(self, image: Any, top: int = 5) -> list[ClassShare]:
        """The most probable classes of a PIL image, or of an array [H, W, 3] of uint8."""
        import numpy as np

        whole(top, 1, MAX_TOP, "top")
        logits_1K = next(iter(self._model.run({"image": prepared(image, self.row.preprocessing)}).values()))
        exps_K = np.exp(logits_1K[0] - logits_1K[0].max())
        shares_K = exps_K / exps_K.sum()
        labels = self._labels(len(shares_K))
        return [ClassShare(labels[place], float(shares_K[place])) for place in np.argsort(-shares_K)[:top]]

    def _labels(self, count: int) -> list[str]:
        from importlib.util import find_spec

        names = self.row.preprocessing.get("labels")
        if names == "imagenet-1k" and count == 1000 and find_spec("timm"):
            from timm.data import ImageNetInfo

            info = ImageNetInfo()
            return [info.index_to_description(place) for place in range(count)]
        return [str(place) for place in range(count)]


# Segmentation of images: a class for each pixel.
#
# Shapes: H height, W width, K classes.

SEGMENTATION_TASK = "segmentation"


class SegmentationModel:
    def __init__(self, row: ZooRow, model: OpenedModel) -> None:
        self.row, self._model = row, model

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> SegmentationModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, SEGMENTATION_TASK, accept_licence, cls.__name__)
        return cls(row, opened(row, files))

    @property
    def classes(self) -> list[str]:
        """By number; empty where the source states none."""
        return list(self.row.preprocessing.get("classes", []))

    def segment(self, image: Any) -> np.ndarray[Any, Any]:
        """The number of the class of each pixel, int64 [H, W], at the size to which the model resizes."""
        scores_1KHW = self._model.run({"image": prepared(image, self.row.preprocessing)})["out"]
        labels: np.ndarray[Any, Any] = scores_1KHW[0].argmax(0)
        return labels


# Classification of texts: sentiment, topics.

TEXT_CLASSIFICATION_TASK = "text-classification"


class TextClassificationModel:
    def __init__(self, row: ZooRow, model: Any, tokenizer: Any) -> None:
        self.row, self._model, self._tokenizer = row, model, tokenizer

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> TextClassificationModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, TEXT_CLASSIFICATION_TASK, accept_licence, cls.__name__)
        with transformers_models.only(row, files) as folder:
            tokenizer = needed("transformers").AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            return cls(row, transformers_models.loaded(row, folder), tokenizer)

    def classify(self, text: str, top: int = 5) -> list[ClassShare]:
        """The most probable classes, by the names that the model's files give them."""
        torch = needed("torch")
        whole(top, 1, MAX_TOP, "top")
        inputs = self._tokenizer(text_of(text, "a text"), truncation=True, return_tensors="pt")
        with torch.inference_mode():
            shares = torch.softmax(self._model(**inputs).logits[0].float(), 0)
        names = self._model.config.id2label
        order = torch.argsort(shares, descending=True)[:top].tolist()
        return [ClassShare(str(names.get(place, place)), float(shares[place])) for place in order]


# Which language a text is in.

LANGUAGE_DETECTION_TASK = "language-detection"


class LanguageDetectionModel:
    def __init__(self, row: ZooRow, model: FasttextModel) -> None:
        self.row, self._model = row, model

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> LanguageDetectionModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, LANGUAGE_DETECTION_TASK, accept_licence, cls.__name__)
        model = opened(row, files)
        if not isinstance(model, FasttextModel):
            raise ModelsError(f"{row.name} is opened by TextClassificationModel")
        return cls(row, model)

    def detect(self, text: str, top: int = 1) -> list[ClassShare]:
        """`[ClassShare("en", 0.98)]`: codes of ISO 639, the most probable first."""
        whole(top, 1, MAX_TOP, "top")
        if not text_of(text, "a text").strip():
            raise ModelsError("an empty text has no language: give at least a word")
        return [ClassShare(label, share) for label, share in self._model.predict(text, top)]


# Text generation: a language model and its tokenizer.
#
#     TextGenerationModel.from_pretrained("deepseek/smollm2-135m-instruct").generate("DeepSeek is a ", max_length=50)
#
# Shapes: B batch of 1, T tokens, V vocabulary.

TEXT_GENERATION_TASK = "text-generation"
MAX_TOKENS, MAX_SEED = 1_000_000, 2**63 - 1
COLDEST, HOTTEST = 0.01, 100.0


class TextGenerationModel:
    """For one thread at a time. `threads` are PyTorch's, those of the whole process while a text is made: more than are free slow it down."""

    def __init__(self, row: ZooRow, model: Any, tokenizer: Any, threads: int = 1) -> None:
        self.row, self.threads, self._model, self._tokenizer = row, threads, model, tokenizer

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> TextGenerationModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, TEXT_GENERATION_TASK, accept_licence, cls.__name__)
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
        torch.set_num_threads(whole(self.threads, 1, MAX_THREADS, "threads"))
        try:
            yield from self._next_tokens(prompt_ids, max_length, temperature, seed)
        finally:
            torch.set_num_threads(before)

    def _next_tokens(self, prompt_ids: list[int], max_length: int, temperature: float, seed: int) -> Iterator[int]:
        torch = needed("torch")
        if not prompt_ids:
            raise ModelsError("an empty prompt has no continuation: give at least a word")
        longest = int(self.row.preprocessing.get("longest", MAX_TOKENS))
        max_length = whole(max_length, 0, longest, f"max_length of {self.row.name}")
        seed = whole(seed, 0, MAX_SEED, "the seed")
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


# Embeddings of texts: vectors of length 1 whose product is the similarity.
#
# Shapes: N texts, T tokens, W width.

EMBEDDING_TASK = "embeddings"
BATCH = 32
POOLING = "1_Pooling/config.json"  # of sentence-transformers: how the vectors of tokens become one


class EmbeddingModel:
    def __init__(self, row: ZooRow, model: Any, tokenizer: Any, first_token: bool, longest: int) -> None:
        self.row, self._model, self._tokenizer = row, model, tokenizer
        self._first_token, self._longest = first_token, longest

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> EmbeddingModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, EMBEDDING_TASK, accept_licence, cls.__name__)
        with transformers_models.only(row, files) as folder:
            tokenizer = needed("transformers").AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            model = transformers_models.loaded(row, folder)
            return cls(row, model, tokenizer, _pools_first_token(folder), int(row.preprocessing.get("longest", 512)))

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """float32 [N, W]; a text longer than the model takes is cut."""
        import numpy as np

        torch = needed("torch")
        texts = texts_of(texts, "texts")
        found_vectors = []
        for begin in range(0, len(texts), BATCH):
            batch = self._tokenizer(
                texts[begin : begin + BATCH],
                padding=True,
                truncation=True,
                max_length=self._longest,
                return_tensors="pt",
            )
            with torch.inference_mode():
                hidden_NTW = self._model(**batch).last_hidden_state.float()
            if self._first_token:
                pooled_NW = hidden_NTW[:, 0]
            else:
                mask_NT1 = batch["attention_mask"].unsqueeze(-1).float()
                pooled_NW = (hidden_NTW * mask_NT1).sum(1) / mask_NT1.sum(1).clamp_min(1.0)
            found_vectors.append(torch.nn.functional.normalize(pooled_NW, dim=1).numpy())
        return (
            np.concatenate(found_vectors)
            if found_vectors
            else np.zeros((0, self._model.config.hidden_size), np.float32)
        )


def _pools_first_token(folder: Path) -> bool:
    """The mean of all tokens where the model does not say."""
    place = folder / POOLING
    return bool(json.loads(place.read_text()).get("pooling_mode_cls_token")) if place.exists() else False
