"""A reproduction is composed of what was published, and of the user's options above that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from evalkit.errors import EvalkitError
from evalkit.reproducing.composing import composed
from evalkit.settings import conf_dir

from .published import write

CARD = ("musicgen_small", "musicgen_medium", "musicgen_large", "musicgen_melody")


def claimed(path: Path) -> bool:
    """Whether the model of a YAML is one that numbers were, or could have been, published for."""
    (node,) = yaml.safe_load(path.read_text()).values()
    return bool(node.get("published"))


MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml") if claimed(path))


def test_the_model_card_is_composed_by_itself() -> None:
    made = composed("musicgen_small")
    assert made.options == (
        *("model=musicgen_small", "prompts=musiccaps", "protocol=musicgen", "metric=[fad,kld,clap_score,chroma]"),
        *("sampling.duration=10", "sampling.top_k=250", "sampling.top_p=0.0", "sampling.temperature=1.0"),
        *("sampling.guidance_scale=3.0", "sampling.samples_per_prompt=3"),
    )
    assert (made.name, made.checkpoint, made.generated, made.seeds) == (
        *("musicgen_small", "facebook/musicgen-small"),
        *(True, 3),
    )
    assert {p.metric: p.value for p in made.published} == {"fad": 4.88, "kld": 1.42, "clap_score": 0.27, "chroma": None}


@pytest.mark.parametrize("model", MODELS)
def test_every_model_with_a_published_id_takes_the_card_s_protocol_and_set(model: str) -> None:
    made = composed(model)
    assert made.config.protocol.name == "musicgen" and made.config.prompts.subset == "all"
    assert made.config.prompts.dataset == "musiccaps" and made.config.sampling.duration == 10
    assert made.config.sampling.samples_per_prompt == 3 and {"fad", "kld", "clap_score"} <= set(made.config.metric)
    # those without numbers of their own are measured too: what they were tuned from stands beside them
    assert any(p.value is not None for p in made.published) == (model in CARD)


def test_a_folder_takes_what_was_published_of_the_clips_that_it_is_said_to_hold(tmp_path: Path) -> None:
    claim = ["model.folder.path=CLIPS", "model.folder.published=facebook/magnet-small-10secs"]
    made = composed("folder", claim)
    assert (made.generated, made.seeds) == (False, 1)
    assert {p.metric: p.value for p in made.published} == {"fad": 4.22, "kld": 1.11, "clap_score": 0.28}
    assert not any(option.startswith("sampling.top") for option in made.options)
    assert composed("folder", claim, seeds=2).seeds == 2


def test_an_option_of_the_user_wins_and_a_group_takes_the_place_of_the_published_one() -> None:
    made = composed("musicgen_small", ["sampling.top_k=50", "prompts=demo", "metric=[kld]", "protocol=fadtk"], seeds=4)
    assert (made.config.sampling.top_k, made.config.sampling.guidance_scale) == (50, 3.0)
    assert made.config.prompts["_target_"].endswith("Demo") and list(made.config.metric) == ["kld"]
    assert made.config.protocol.name == "fadtk" and made.config.sampling.samples_per_prompt == 4
    assert made.source.source == "MusicGen model card"


def test_numbers_of_one_s_own_are_composed_alike(tmp_path: Path) -> None:
    folder = write(tmp_path / "conf", tmp_path / "cache")
    made = composed("their_music", config_dir=str(folder))
    assert made.options == (
        *("model=their_music", "prompts=synthetic", "protocol=musicgen", "metric=[chroma,silence]"),
        *("sampling.duration=1.5", "sampling.top_k=100", "sampling.guidance_scale=2.0"),
        "sampling.samples_per_prompt=3",
    )
    assert made.left_out == ("fd_openl3",) and made.config.sampling.temperature == 1.0


def test_a_subset_is_selected_by_its_name_or_by_the_yaml_that_has_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "conf", tmp_path / "cache")
    card = folder / "published" / "card.yaml"
    text = card.read_text()
    card.write_text(text.replace("dataset: synthetic", "dataset: musiccaps").replace("subset: all", "subset: balanced"))
    made = composed("their_music", config_dir=str(folder))
    assert "prompts=musiccaps" in made.options and made.config.prompts.subset == "balanced"
    (folder / "prompts").mkdir()
    (folder / "prompts" / "few.yaml").write_text("defaults: [musiccaps, _self_]\ndataset: ours\nsubset: balanced\n")
    card.write_text(text.replace("dataset: synthetic", "dataset: ours").replace("subset: all", "subset: balanced"))
    assert "prompts=few" in composed("their_music", config_dir=str(folder)).options


def test_a_set_that_there_is_not_is_said(tmp_path: Path) -> None:
    folder = write(tmp_path / "conf", tmp_path / "cache")
    card = folder / "published" / "card.yaml"
    card.write_text(card.read_text().replace("dataset: synthetic", "dataset: elsewhere"))
    with pytest.raises(EvalkitError, match="there is no prompt set 'elsewhere': select one with prompts=NAME"):
        composed("their_music", config_dir=str(folder))


def test_stable_audio_s_numbers_are_composed_for_its_own_model_or_if_its_protocol_is_selected() -> None:
    claim = ["model.folder.path=CLIPS", "model.folder.published=stabilityai/stable-audio-open-1.0"]
    for model, options in (("folder", claim), ("musicgen_stereo_large", ["protocol=stable_audio"])):
        made = composed(model, options)
        assert {"prompts=song_describer", "prompts.subset=no_singing", "metric=[kld,clap_score]"} <= set(made.options)
        assert made.config.protocol.name == "stable_audio" and made.left_out == ("fd_openl3",)


def test_the_source_of_the_selected_protocol_is_taken_and_one_with_numbers_before_one_without(tmp_path: Path) -> None:
    folder = write(tmp_path / "conf", tmp_path / "cache")
    card = folder / "published" / "card.yaml"
    other = card.read_text().replace("protocol: musicgen", "protocol: fadtk").replace("Their card", "Another")
    (folder / "published" / "a.yaml").write_text(other.replace("chroma: 0.5", "chroma: null").replace("3.0}", "null}"))
    assert composed("their_music", config_dir=str(folder)).source.source == "Their card, from a user's card.yaml"
    source = composed("their_music", ["protocol=fadtk"], config_dir=str(folder)).source.source
    assert source == "Another, from a user's a.yaml"


FOLDER = ["model.folder.path=CLIPS"]


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("musicgen_smal", [], "unknown model 'musicgen_smal': did you mean 'musicgen_small'?"),
        ("[musicgen_small,musicgen_medium]", [], "give the name of one model"),
        ("synth", [], "synth is taken for no published model: choose one of musicgen_large, musicgen_medium"),
        ("folder", FOLDER, "or set model.folder.published to the hub id of one with published numbers"),
        ("folder", [], "the folder of clips is not set"),
        (
            "folder",
            [*FOLDER, "model.folder.published=facebook/musicgen-smal"],
            "did you mean 'facebook/musicgen-small'",
        ),
        ("hf_text_to_audio", ["model.hf_text_to_audio.id=a/b"], "no numbers were published for a/b: choose one of"),
        ("musicgen_small", ["model=musicgen_medium"], "the model is musicgen_small: leave it out"),
        ("musicgen_small", ["experiment=demo"], "give single options"),
        ("musicgen_small", ["sampling.samples_per_prompt=5"], "write --seeds 5"),
        ("musicgen_small", ["sampling.topk=5"], "did you mean 'sampling.top_k'?"),
        ("musicgen_small", ["prompts.frist=5"], "did you mean 'prompts.first'?"),
        ("musicgen_small", ["prompts=musicap"], "did you mean 'musiccaps'?"),
        ("musicgen_small", ["sampling.top_k=1,2"], "several values"),
        ("musicgen_small", ["top_k"], "cannot read the option 'top_k'"),
    ],
)
def test_what_cannot_be_composed_is_said_in_one_line(model: str, options: list[str], said: str) -> None:
    with pytest.raises(EvalkitError) as error:
        composed(model, options)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("seeds", [2, 1, 0, -1])
def test_too_few_seeds_for_any_verdict_are_refused_but_for_clips_that_are_there(seeds: int) -> None:
    with pytest.raises(EvalkitError, match=f"--seeds {seeds}: give 3 or more"):
        composed("musicgen_small", seeds=seeds)
    claim = [*FOLDER, "model.folder.published=facebook/musicgen-small"]
    if seeds > 0:
        assert composed("folder", claim, seeds).seeds == seeds
    else:
        with pytest.raises(EvalkitError, match=f"--seeds {seeds}: give 1 or more"):
            composed("folder", claim, seeds)


@pytest.mark.parametrize("seeds", ["3", 3.0, True])
def test_seeds_are_a_whole_number(seeds: Any) -> None:
    with pytest.raises(EvalkitError, match=rf"^seeds={seeds!r}: must be a whole number, such as 3$"):
        composed("musicgen_small", seeds=seeds)


def test_a_source_that_evalkit_cannot_follow_is_named_with_the_reason(tmp_path: Path) -> None:
    folder = write(tmp_path / "conf", tmp_path / "cache", protocol="unheard_of")
    with pytest.raises(
        EvalkitError, match=r"Their card, .*: its protocol is 'unheard_of', which evalkit does not have"
    ):
        composed("their_music", config_dir=str(folder))
    card = folder / "published" / "card.yaml"
    card.write_text(
        card.read_text().replace("unheard_of", "musicgen").replace("{chroma: 0.5, silence_share: null, ", "{")
    )
    with pytest.raises(EvalkitError, match=r"Their card, .*: evalkit computes none of fd_openl3"):
        composed("their_music", config_dir=str(folder))
