"""The classes with `from_pretrained`: those whose weights packages carry, and others with small random weights from a hub on loopback."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import (
    EmbeddingModel,
    ImageClassificationModel,
    LanguageDetectionModel,
    ModelsError,
    SegmentationModel,
    TextGenerationModel,
)
from models.zoo import fetch, table
from tests.models import fake_hub, tiny
from tests.models.fake_hub import FakeModel
from tests.models.running import Home

SMOL = "deepseek/smollm2-135m-instruct"


@pytest.fixture(scope="module", autouse=True)
def folder(zoo_folder: Path) -> Path:
    return zoo_folder


@pytest.fixture(scope="module")
def smol() -> TextGenerationModel:
    return TextGenerationModel.from_pretrained(SMOL)


def test_the_example_of_the_source_document_runs_but_for_the_name(smol: TextGenerationModel) -> None:
    text = smol.generate("DeepSeek is a ", max_length=50)
    assert text.startswith("DeepSeek is a ") and len(text) > 60
    assert smol.generate("DeepSeek is a ", max_length=50) == text
    assert "Paris" in smol.generate("The capital of France is", max_length=12)


def test_what_is_streamed_is_what_is_generated(smol: TextGenerationModel) -> None:
    pieces = list(smol.stream("The capital of France is", max_length=20))
    assert len(pieces) > 5 and "The capital of France is" + "".join(pieces) == smol.generate(
        "The capital of France is", max_length=20
    )


def test_chance_is_the_seeds(smol: TextGenerationModel) -> None:
    texts = {smol.generate("Once", max_length=12, temperature=1.0, seed=seed) for seed in (1, 1, 2)}
    assert len(texts) == 2


def test_bad_arguments_are_one_sentence(smol: TextGenerationModel) -> None:
    with pytest.raises(ModelsError, match="empty prompt"):
        smol.generate("")
    with pytest.raises(ModelsError, match="temperature"):
        smol.generate("a", temperature=-1)
    with pytest.raises(ModelsError, match="for text-generation, and EmbeddingModel for embeddings"):
        EmbeddingModel.from_pretrained(SMOL)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"prompt": b"hi"}, "a prompt is text, and this is bytes"),
        ({"prompt": ["a", "b"]}, "call it once for each text"),
        ({"prompt": None}, "this is NoneType"),
        ({"prompt": "\ud800"}, "has half a character at place 0"),
        ({"max_length": 10**9}, "give a whole number from 0 to 8,192"),
        ({"max_length": -1}, "max_length of deepseek/smollm2-135m-instruct is -1"),
        ({"max_length": 5.5}, "give a whole number"),
        ({"max_length": "5"}, "give a whole number"),
        ({"temperature": float("nan")}, "a temperature of nan has no meaning"),
        ({"temperature": 1e-300}, "or 0.01 to 100"),
        ({"temperature": "hot"}, "a temperature of hot"),
        ({"seed": 10**30}, "the seed is 1000"),
        ({"seed": -1}, "the seed is -1"),
    ],
)
def test_what_no_model_can_do_with_is_one_sentence(
    smol: TextGenerationModel, changed: dict[str, Any], sentence: str
) -> None:
    given = {"prompt": "Once", "max_length": 8, **changed}
    with pytest.raises(ModelsError, match=re.escape(sentence)):
        smol.generate(**given)
    with pytest.raises(ModelsError, match=re.escape(sentence)):
        list(smol.stream(**given))


@pytest.mark.parametrize("threads", [0, -1, 10**6, "two"])
def test_threads_that_no_host_has_are_one_sentence(
    smol: TextGenerationModel, threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million of them ends the process."""
    monkeypatch.setattr(smol, "threads", threads)
    with pytest.raises(ModelsError, match=f"threads is {threads}: give a whole number from 1 to 1,024"):
        smol.generate("Once", max_length=8)


def test_numbers_of_numpy_are_numbers(smol: TextGenerationModel) -> None:
    given = smol.generate("Once", max_length=np.int64(8), temperature=np.float32(1), seed=np.uint8(1))
    assert given == smol.generate("Once", max_length=8, temperature=1.0, seed=1)


def test_a_single_text_is_not_embedded_letter_by_letter() -> None:
    model = EmbeddingModel.from_pretrained("all-minilm-l6-v2")
    for texts, sentence in (
        ("hello", r"give \[text\]"),
        (None, "a list of texts"),
        ([1], "this is int"),
        ([["a"]], "this is list"),
    ):
        with pytest.raises(ModelsError, match=sentence):
            model.encode(texts)  # type: ignore[arg-type]
    assert model.encode([]).shape == (0, 384) and model.encode(["", "\0", "ü 深 🎉"]).shape == (3, 384)


def test_an_image_that_grows_beyond_memory_is_one_sentence() -> None:
    """The shorter side of a line of pixels is resized as well."""
    model = ImageClassificationModel.from_pretrained("efficientnet-lite0")
    with pytest.raises(ModelsError, match="200000 x 1 pixels is too narrow"):
        model.classify(np.zeros((1, 200_000, 3), np.uint8))
    with pytest.raises(ModelsError, match="top is 0: give a whole number from 1"):
        model.classify(np.zeros((50, 60, 3), np.uint8), top=0)


def test_a_conversion_that_was_changed_is_not_opened(folder: Path, smol: TextGenerationModel) -> None:
    (converted,) = (folder / "converted").iterdir()
    config = converted / "config.json"
    before = config.read_bytes()
    config.write_bytes(before + b" ")
    with pytest.raises(ModelsError, match=r"config\.json has changed: remove"):
        TextGenerationModel.from_pretrained(SMOL)
    config.write_bytes(before)


def test_similar_sentences_have_similar_vectors() -> None:
    model = EmbeddingModel.from_pretrained("deepseek/all-minilm-l6-v2")
    vectors = model.encode(["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose in May."])
    assert vectors.shape == (3, 384) and np.allclose((vectors**2).sum(1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.2 > vectors[0] @ vectors[2]
    assert model.encode([]).shape == (0, 384)


def test_an_image_is_classified() -> None:
    model = ImageClassificationModel.from_pretrained("deepseek/efficientnet-lite0")
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[:, :, 1] = 120
    found = model.classify(picture, top=3)
    assert len(found) == 3 and 1 >= found[0].probability >= found[1].probability > 0 and not found[0].label.isdecimal()
    with pytest.raises(ModelsError, match="an image is"):
        model.classify(np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The weather is fine today, and we are going to the lake.", "en"),
        ("Das Wetter ist heute schön, und wir gehen an den See.", "de"),
        ("Il fait beau aujourd'hui et nous allons au lac.", "fr"),
        ("今日は天気がいいので、湖へ行きます。", "ja"),
    ],
)
def test_a_language_is_detected(text: str, language: str) -> None:
    model = LanguageDetectionModel.from_pretrained("deepseek/lid.176")
    assert model.detect(text)[0].label == language
    with pytest.raises(ModelsError, match="empty text"):
        model.detect(" ")


@pytest.mark.parametrize("text", ["\ud800", None, b"x"])
def test_what_is_no_text_has_no_language(text: Any) -> None:
    model = LanguageDetectionModel.from_pretrained("lid.176")
    with pytest.raises(ModelsError, match=r"a text (is text, and|has half a character)"):
        model.detect(text)
    with pytest.raises(ModelsError, match="top is 0"):
        model.detect("hello", top=0)


def test_an_image_is_segmented(folder: Path, tmp_path: Path) -> None:
    row = next(
        row
        for row in table.whole_rows()
        if row.task == "segmentation" and row.loader == "torchvision" and "lraspp" in row.name
    )
    content = tiny.torchvision_weights(row)
    with fake_hub.running() as hub:
        name = tiny.named_by_hash("lraspp", content)
        hub.models["plain"] = FakeModel({name: content})
        fetch.fetch(row._replace(id=f"{hub.address}/plain/{name}"), folder)
        lock = json.loads((folder / "zoo.lock").read_text())
        lock["models"][row.name]["id"] = row.id  # as if it had come from its own address
        (folder / "zoo.lock").write_text(json.dumps(lock))
    model = SegmentationModel.from_pretrained(row.name)
    labels = model.segment(np.zeros((60, 80, 3), np.uint8))
    assert labels.ndim == 2 and labels.max() < len(model.classes) == 21


def test_what_was_fetched_from_a_hub_is_opened_offline(tmp_path: Path) -> None:
    with fake_hub.running() as hub:
        hub.models["openai-community/gpt2-medium"] = FakeModel(tiny.gpt2())
        hub.models["distilbert/distilbert-base-uncased-finetuned-sst-2-english"] = FakeModel(
            tiny.classifier(), licence="apache-2.0"
        )
        hub.models["BAAI/bge-small-en-v1.5"] = FakeModel(tiny.encoder())
        home = Home(tmp_path, hub.address)
        for name in ("gpt2-medium", "distilbert-base-uncased-finetuned-sst-2-english", "bge-small-en-v1.5"):
            assert home.command("fetch", name).code == 0
    code = """
from models import EmbeddingModel, TextClassificationModel, TextGenerationModel
print(TextGenerationModel.from_pretrained("deepseek/gpt2-medium").generate("DeepSeek is a ", max_length=50))
print(TextClassificationModel.from_pretrained("deepseek/distilbert-base-uncased-finetuned-sst-2-english").classify("good", top=2))
print(EmbeddingModel.from_pretrained("deepseek/bge-small-en-v1.5").encode(["a b", "c"]).shape)
"""
    answer = home.python(code, HF_HUB_OFFLINE="1")
    assert answer.code == 0, answer.err
    first, second, third = answer.out.strip().splitlines()[-3:]
    assert first.lower().startswith("deepseek is a") and "label='bad'" in second and third == "(2, 32)"


def test_what_is_pickled_beyond_tensors_is_not_opened(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with fake_hub.running() as hub:
        files = tiny.gpt2()
        del files["model.safetensors"]
        hub.models["openai-community/gpt2-medium"] = FakeModel({**files, "pytorch_model.bin": tiny.evil(marker)})
        home = Home(tmp_path, hub.address)
        assert home.command("fetch", "gpt2-medium").code == 0
    answer = home.python(
        "from models import TextGenerationModel; TextGenerationModel.from_pretrained('gpt2-medium')", HF_HUB_OFFLINE="1"
    )
    assert "ModelsError: transformers" in answer.err and "does not open deepseek/gpt2-medium" in answer.err
    assert not marker.exists()


def test_weights_in_pytorchs_own_format_are_opened_as_tensors(tmp_path: Path) -> None:
    with fake_hub.running() as hub:
        files = tiny.gpt2(pickled=True)
        hub.models["openai-community/gpt2-medium"] = FakeModel(files)
        home = Home(tmp_path, hub.address)
        assert home.command("fetch", "gpt2-medium").code == 0
    code = "from models import TextGenerationModel; print(TextGenerationModel.from_pretrained('gpt2-medium').generate('a', max_length=4))"
    answer = home.python(code, HF_HUB_OFFLINE="1")
    assert answer.code == 0, answer.err


def test_a_file_of_the_cache_that_changed_is_refused(tmp_path: Path) -> None:
    with fake_hub.running() as hub:
        hub.models["openai-community/gpt2-medium"] = FakeModel(tiny.gpt2())
        home = Home(tmp_path, hub.address)
        home.command("fetch", "gpt2-medium")
    (place,) = home.cache.rglob("snapshots/*/config.json")
    blob = place.resolve()
    blob.write_bytes(blob.read_bytes().replace(b'"n_layer": 2', b'"n_layer": 1'))
    answer = home.python("from models import TextGenerationModel; TextGenerationModel.from_pretrained('gpt2-medium')")
    assert "is not what zoo.lock recorded" in answer.err
    shutil.rmtree(home.cache)
    answer = home.python("from models import TextGenerationModel; TextGenerationModel.from_pretrained('gpt2-medium')")
    assert "is not on this host" in answer.err
