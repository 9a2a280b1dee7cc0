"""A result on a model card, read back by huggingface_hub."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard import metadata_load

from evalkit.errors import EvalkitError
from evalkit.results.comparable import prompt_digests
from evalkit.results.model_index import model_index
from evalkit.results.record import ProtocolInfo, Record, WeightsInfo

from .made import TITLES, VALUES, metric, record, row

SMALL = "facebook/musicgen-small"
ONE = {"m": VALUES["musicgen_small"]}
CLAP = WeightsInfo("CLAP weights", "https://example.org/music.pt", None, "e" * 64, "e" * 64, True)

# What the hub's validation of metadata is known to ask for, from its own messages, as in
# https://github.com/embeddings-benchmark/mteb/issues/1111 and https://github.com/huu4ontocord/MDEL/issues/34
DATASET_TYPE = re.compile(r"^(?:[\w-]+\/)?[\w\-.]+$", re.ASCII)


def made(**changes: Any) -> Record:
    weights = WeightsInfo("MusicGen", f"{SMALL}@main", SMALL, "d" * 40, "", None)
    info = row(published=SMALL, checkpoint=weights, definition={"kind": "musicgen"})
    facts: dict[str, Any] = {"values": ONE, "rows": {"m": info}, "published": {("m", "fad"): 4.88}, "spread": 0.1}
    return record(**{**facts, **changes})


def results(of: Record, chosen: str = "", **options: Any) -> dict[str, EvalResult]:
    """What huggingface_hub reads back, by metric type."""
    data = ModelCard(model_index(of, chosen, **options)[0]).data
    assert isinstance(data, ModelCardData) and data.eval_results
    return {one.metric_type: one for one in data.eval_results}


def accepted(text: str) -> dict[str, Any]:
    """The metadata, where it follows the hub's rules as far as they are known."""
    (entry,) = yaml.safe_load(text.strip("-\n"))["model-index"]
    assert isinstance(entry["name"], str) and entry["name"]
    for result in entry["results"]:
        assert result["task"]["type"] == "text-to-audio"
        dataset = result["dataset"]
        assert DATASET_TYPE.fullmatch(dataset["type"]) and dataset["name"]
        assert all(isinstance(dataset[key], str) for key in ("type", "name", "config", "revision"))
        assert all(isinstance(source["url"], str) for source in [result.get("source", {"url": ""})])
        for one in result["metrics"]:
            assert isinstance(one["type"], str) and isinstance(one["name"], str) and isinstance(one["value"], float)
            assert isinstance(one["config"], str) and not {"verified", "verifyToken"} & set(one)
    return entry


def test_huggingface_hub_reads_back_what_was_measured() -> None:
    of = made()
    found = results(of)
    assert list(found) == ["fad_musicgen", "kld_musicgen", "clap_score_musicgen", "chroma_musicgen"]
    fad = found["fad_musicgen"]
    assert (fad.task_type, fad.metric_value, fad.metric_name) == ("text-to-audio", 4.9034, "FAD, protocol musicgen")
    assert (fad.metric_config, fad.dataset_name, fad.dataset_config) == ("musicgen", "musiccaps", "all")
    args = fad.metric_args
    assert args is not None
    expected = {"protocol": "musicgen", "better": "lower", "n": 12, "level": 0.95, "seeds": 1, "published": 4.88}
    assert expected.items() <= args.items()
    assert (args["low"], args["high"]) == (4.9034 - 0.1, 4.9034 + 0.1)
    assert args["published_source"] == "MusicGen model card, https://example.org/card" and args["comparable"] is True
    assert args["evalkit"] == "0.1.0" and "verdict" not in args
    assert fad.verified is None and fad.verify_token is None and fad.source_name is None
    other = found["kld_musicgen"].metric_args
    assert other is not None and not {"published", "comparable", "not_verified"} & set(other)
    assert {one.metric_value for one in found.values()} == set(VALUES["musicgen_small"].values())


def test_it_is_the_metadata_of_a_model_card_that_the_hub_accepts(tmp_path: Path) -> None:
    text, left_out = model_index(made())
    assert left_out == []
    entry = accepted(text)
    assert entry["name"] == SMALL and len(entry["results"]) == 1
    card = tmp_path / "README.md"
    card.write_text(text + "\n# A model\n", "utf-8")
    assert metadata_load(card) == {"model-index": [entry]}
    data = ModelCardData(**{"model-index": [entry]})
    assert data.model_name == SMALL and len(data.eval_results or []) == 4
    assert f"---\n{data.to_yaml()}\n---\n" == text


def test_what_the_values_are_of_is_said_with_digests() -> None:
    of = made(config={"prompts": {"path": None, "source": {"repo": "google/MusicCaps", "revision": "0a51"}}})
    fad = results(of)["fad_musicgen"]
    ids, captions = prompt_digests([(f"p{i}", f"caption {i}") for i in range(12)])
    assert fad.dataset_type == "google/MusicCaps" and fad.dataset_revision == captions
    args = fad.dataset_args
    assert args is not None and (args["prompts"], args["ids_sha256"], args["references"]) == (12, ids, "12 of 12")
    assert args["source"] == "google/MusicCaps@0a51"
    assert args["clips"] == {
        "checkpoint": f"{SMALL}@main", "checkpoint_digest": "d" * 40, "sampling": {"top_k": 250, "duration": 10.0},
    }  # fmt: skip
    copy = made(config={"prompts": {"path": "my.csv", "source": {"repo": "google/MusicCaps", "revision": "0a51"}}})
    assert "source" not in (results(copy)["fad_musicgen"].dataset_args or {})
    assert results(made())["fad_musicgen"].dataset_type == "musiccaps"


def test_values_of_different_protocols_are_never_one_metric() -> None:
    def types(protocol: str, switches: Mapping[str, Any]) -> set[str]:
        metrics = {"fad": metric("FAD", False, protocol=protocol)}
        of = made(metrics=metrics, titles={"fad": TITLES["fad"]}, values={"m": {"fad": 4.9}})
        return set(results(replace(of, protocol=ProtocolInfo(protocol, ["hop 1, not 0.5"], switches))))

    found = [
        types("musicgen", {"hop": 0.5}),
        types("fadtk", {"hop": 1}),
        types("musicgen (changed)", {"hop": 1}),
        types("musicgen (changed)", {"hop": 2}),
    ]
    assert len({next(iter(one)) for one in found}) == 4
    assert found[0] == {"fad_musicgen"} and re.fullmatch("fad_musicgen_changed_[0-9a-f]{8}", *found[2])
    changed = made(metrics={name: metric(*TITLES[name], protocol="musicgen (changed)") for name in TITLES})
    changed = replace(changed, protocol=ProtocolInfo("musicgen (changed)", ["hop 1, not 0.5"], {}))
    fad = next(iter(results(changed).values()))
    assert fad.metric_name == "FAD, protocol musicgen (changed)"
    assert fad.metric_args is not None and fad.metric_args["changes"] == ["hop 1, not 0.5"]
    accepted(model_index(changed)[0])


def test_the_weights_of_a_metric_are_named_by_digest() -> None:
    metrics = {**made().metrics, "clap_score": metric("CLAP score", True, weights=[CLAP])}
    args = results(made(metrics=metrics))["clap_score_musicgen"].metric_args
    assert args is not None and args["weights"] == {"CLAP weights": "e" * 64}


def test_a_verdict_stands_beside_the_published_value() -> None:
    said = {
        "verdict": "UNDECIDED", "verdict_reason": "12 seeds would decide", "seed_sd": 0.02, "tolerance": 0.1464,
        "difference_low": -0.1, "difference_high": 0.2,
    }  # fmt: skip
    found = results(made(each=said))
    fad, kld = found["fad_musicgen"].metric_args, found["kld_musicgen"].metric_args
    assert fad is not None and kld is not None
    assert said.items() <= fad.items() and "references" in fad["not_verified"]
    assert "verdict" not in kld and "tolerance" not in kld  # nothing was published


@pytest.mark.parametrize("where", ["model", "network"])
def test_random_numbers_are_not_published(where: str) -> None:
    of = made(each={"random_weights": True})
    if where == "model":
        of, name = replace(of, rows={"m": replace(of.rows["m"], random=True)}), "m"
    else:
        of, name = replace(of, metrics={**of.metrics, "fad": metric("FAD", False, random=["VGGish"])}), "VGGish"
    with pytest.raises(EvalkitError, match=rf"random weights \({name}\): such numbers mean nothing on a model card"):
        model_index(of)


def test_a_metric_without_a_value_is_left_out_and_that_is_said() -> None:
    of = made(values={"m": {**VALUES["musicgen_small"], "fad": math.nan}}, notes={("m", "fad"): "failed:\n too short"})
    text, left_out = model_index(of)
    assert left_out == ["FAD is left out: failed: too short"] and "nan" not in text.lower()
    assert "fad_musicgen" not in results(of) and len(results(of)) == 3
    with pytest.raises(EvalkitError, match="'m' has no score"):
        model_index(made(values={"m": {"fad": math.nan}}, titles={"fad": TITLES["fad"]}))


def test_an_interval_that_is_not_there_is_left_out() -> None:
    args = results(made(spread=math.nan))["fad_musicgen"].metric_args
    assert args is not None and not {"low", "high", "level"} & set(args)


def test_one_model_is_chosen_and_calibration_is_left_out() -> None:
    values = {"a": VALUES["musicgen_small"], "b": VALUES["musicgen_stereo_small"], "noise": {"fad": 90.0}}
    of = made(values=values, rows={"a": row(), "b": row(), "noise": row(calibration=True)})
    with pytest.raises(EvalkitError, match=r"has 2 models \(a, b\), and a model card is of one: choose it with --row"):
        model_index(of)
    assert results(of, "b")["fad_musicgen"].metric_value == 5.1117
    assert accepted(model_index(of, "b")[0])["name"] == "b"
    for name in ("noise", "bb"):
        with pytest.raises(EvalkitError, match=f"unknown model '{name}': .*available: a, b"):
            model_index(of, name)
    alone = made(values={k: values[k] for k in ("a", "noise")}, rows={k: of.rows[k] for k in ("a", "noise")})
    assert "90.0" not in model_index(alone)[0]


def test_a_local_checkpoint_is_not_called_what_it_may_have_been_tuned_from() -> None:
    local = WeightsInfo("MusicGen", "/checkpoints/mine", None, "d" * 64, "", False)
    cases = {
        "m": row(published=SMALL, checkpoint=local),
        "me/mine": row(published=SMALL, checkpoint=replace(local, repo="me/mine")),
        SMALL: row(published=SMALL, generated=False),
    }
    for name, info in cases.items():
        assert accepted(model_index(made(rows={"m": info}))[0])["name"] == name


def test_clips_that_something_else_made_have_no_sampling() -> None:
    fad = results(made(rows={"m": row(published=SMALL, generated=False)}))["fad_musicgen"]
    assert fad.dataset_args is not None and fad.dataset_args["clips"] == "not made by evalkit"
    assert fad.metric_args is not None and "seeds" not in fad.metric_args
    assert f"checkpoint and sampling of m, taken for {SMALL}" in fad.metric_args["not_verified"]


def test_evalkit_is_the_source_where_its_result_can_be_read() -> None:
    text, _ = model_index(made(), source_url="https://example.org/result")
    (result,) = accepted(text)["results"]
    assert result["source"] == {"name": "evalkit 0.1.0", "url": "https://example.org/result"}


def test_two_folders_have_no_model_card() -> None:
    of = made()
    folders = replace(of, prompts_info=replace(of.prompts_info, form="sets"))
    with pytest.raises(EvalkitError, match="compares two folders: a model index needs a set of prompts"):
        model_index(folders)


@pytest.mark.parametrize(
    "bad", ["a\x1bb", "a\u202eb", "yes", "1e5", "null", "a: b # c", "- a", "'\"", "音 楽", "{x}", "@x"]
)
def test_names_come_back_as_they_are_shown(bad: str) -> None:
    info = replace(made().prompts_info, dataset=bad, subset=bad)
    of = made(prompts_info=info, values={bad: ONE["m"]}, rows={bad: row()}, titles={**TITLES, "fad": (bad, False)})
    text, _ = model_index(of)
    entry = accepted(text)
    shown = bad.encode("unicode_escape").decode() if not bad.isprintable() else bad
    dataset = entry["results"][0]["dataset"]
    assert {entry["name"], dataset["name"], dataset["config"]} == {shown}
    assert entry["results"][0]["metrics"][0]["name"] == f"{shown}, protocol musicgen"
