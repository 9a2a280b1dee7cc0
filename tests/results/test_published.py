"""Published numbers, and which of them stands beside a score."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.results.beside import compared
from evalkit.results.comparable import reasons
from evalkit.results.gate import Margin, absolute
from evalkit.results.published import Published, load_published, others, require_known
from tests.results.made import comparable_record, metric, of_these_prompts, score

FOLDER = Path(__file__).parents[2] / "conf" / "published"
STEREO = "no FAD, KLD or CLAP score was published on MusicCaps for this stereo checkpoint"


@pytest.fixture(scope="module")
def published() -> list[Published]:
    return load_published(FOLDER)


def joined(
    published: list[Published], checkpoint: str | None, *scores: dict[str, Any], dataset: str = "musiccaps", **row: Any
) -> pd.DataFrame:
    """Scores of a model beside what was published, as if that had been measured on the same twelve prompts."""
    made = comparable_record(checkpoint, {s["metric"]: s["value"] for s in scores}, **row)
    metrics = {s["metric"]: metric(s["metric"], None, protocol=s["protocol"], weights=()) for s in scores}
    frame = made.scores.assign(**{key: [s[key] for s in scores] for key in ("n", "random_weights", "note")})
    info = replace(made.prompts_info, dataset=dataset)
    return compared(replace(made, metrics=metrics, scores=frame, prompts_info=info), of_these_prompts(made, published))


def measured(
    metric: str, value: float, n: int = 12, protocol: str = "musicgen", random: bool = False
) -> dict[str, Any]:
    return score("m", metric, value, n=n, protocol=protocol, random_weights=random)


# The tables of the three model cards, typed from the cards.
CARDS = {
    "facebook/musicgen-small": {"fad": 4.88, "kld": 1.42, "clap_score": 0.27},
    "facebook/musicgen-medium": {"fad": 5.14, "kld": 1.38, "clap_score": 0.28},
    "facebook/musicgen-large": {"fad": 5.48, "kld": 1.37, "clap_score": 0.28},
    "facebook/musicgen-melody": {"fad": 4.93, "kld": 1.41, "clap_score": 0.27},
    "facebook/magnet-small-10secs": {"fad": 4.22, "kld": 1.11, "clap_score": 0.28},
    "facebook/magnet-medium-10secs": {"fad": 4.61, "kld": 1.14, "clap_score": 0.28},
    "facebook/magnet-small-30secs": {"fad": 4.35, "kld": 1.17, "clap_score": 0.28},
    "facebook/magnet-medium-30secs": {"fad": 4.63, "kld": 1.20, "clap_score": 0.28},
    "facebook/jasco-chords-drums-400M": {"fad": 5.648, "clap_score": 0.272},
    "facebook/jasco-chords-drums-1B": {"fad": 5.602, "clap_score": 0.281},
    "facebook/jasco-chords-drums-melody-400M": {"fad": 5.816, "clap_score": 0.293},
    "facebook/jasco-chords-drums-melody-1B": {"fad": 5.470, "clap_score": 0.297},
}


def test_the_model_cards_numbers(published):
    found: dict[str, dict[str, float]] = {}
    for p in published:
        if p.primary and p.value is not None and not p.condition:
            found.setdefault(p.model, {})[p.metric] = p.value
    assert found == CARDS
    assert {(p.dataset, p.protocol, p.subset) for p in published if p.primary} == {("musiccaps", "musicgen", "all")}


def test_jasco_with_temporal_controls_is_another_row(published):
    values = {(p.model, p.metric): p.value for p in published if p.condition == "temporal controls"}
    names = [f"facebook/jasco-chords-drums{kind}-{size}" for kind in ("", "-melody") for size in ("400M", "1B")]
    assert [values[name, "fad"] for name in names] == [5.866, 5.587, 4.730, 5.098]
    assert [values[name, "clap_score"] for name in names] == [0.284, 0.291, 0.317, 0.313]
    row = joined(published, names[0], measured("fad", 6.0)).iloc[0]
    assert row.published == 5.648


def test_the_papers_models_are_not_the_released_ones(published):
    paper = [p for p in published if "2306.05284" in p.url]
    values = {(p.model, p.metric): p.value for p in paper}
    assert [values["MusicGen 3.3B (paper)", m] for m in ("fad", "kld", "clap_score")] == [3.8, 1.22, 0.31]
    assert [values["MusicGen 300M (paper)", m] for m in ("fad", "kld", "clap_score")] == [3.1, 1.28, 0.31]
    assert [values["Riffusion", m] for m in ("fad", "kld", "clap_score")] == [14.8, 2.06, 0.19]
    assert not any(p.released or p.primary for p in paper)
    # even a user's model with that very name is not joined
    assert math.isnan(joined(published, "MusicGen 3.3B (paper)", measured("fad", 3.8)).iloc[0].published)


def test_a_released_checkpoint_is_compared(published):
    frame = joined(
        published, "facebook/musicgen-small", measured("fad", 4.9), measured("kld", 1.4), measured("chroma", 0.1)
    )
    fad, kld, chroma = (row for _, row in frame.iterrows())
    assert (fad.value, fad.published, fad.n, fad.protocol) == (4.9, 4.88, 12, "musicgen")
    assert fad.difference == pytest.approx(0.02) and kld.difference == pytest.approx(-0.02)
    assert fad.comparable and fad.source == "MusicGen model card" and fad.url.endswith("MUSICGEN_MODEL_CARD.md")
    assert math.isnan(chroma.published) and math.isnan(chroma.difference) and not chroma.comparable
    assert chroma.note == "no value was published for this checkpoint on musiccaps"


def test_caveats_come_with_the_value(published):
    frame = joined(published, "facebook/musicgen-melody", measured("clap_score", 0.27), measured("fad", 5.0))
    clap, fad = frame["note"]
    assert frame["published"].tolist() == [0.27, 4.93]
    assert "does not name the CLAP checkpoint" in clap and "does not name the CLAP checkpoint" not in fad
    assert "which melody" in clap and "which melody" in fad


def test_the_chroma_of_clips_with_a_melody_is_not_that_of_clips_without(published):
    row = joined(published, "facebook/musicgen-melody", measured("chroma", 0.1)).iloc[0]
    assert math.isnan(row.published) and "0.44, is of clips conditioned on a melody" in row.note
    (value,) = (
        p for p in published if (p.model, p.metric, p.condition) == ("facebook/musicgen-melody", "chroma", "melody")
    )
    assert value.value == 0.44 and any("internal set of 1,000 samples" in caveat for caveat in value.caveats)


@pytest.mark.parametrize("kind", ["small", "medium", "large", "melody", "melody-large"])
@pytest.mark.parametrize("metric", ["fad", "kld", "clap_score"])
def test_no_stereo_checkpoint_has_a_published_value(published, kind, metric):
    row = joined(published, f"facebook/musicgen-stereo-{kind}", measured(metric, 1.0)).iloc[0]
    assert math.isnan(row.published) and math.isnan(row.difference) and not row.comparable
    assert row.note == STEREO


def test_melody_large_has_no_published_value(published):
    row = joined(published, "facebook/musicgen-melody-large", measured("fad", 5.0)).iloc[0]
    assert math.isnan(row.published)
    assert row.note == "no FAD, KLD or CLAP score was published on MusicCaps for this checkpoint"


def test_random_weights_are_never_compared(published):
    row = joined(published, "facebook/musicgen-small", measured("fad", 4.88, random=True)).iloc[0]
    assert math.isnan(row.published) and not row.comparable and "random weights" in row.note
    assert row.source == row.url == "" and math.isnan(row.difference)
    frame = joined(
        published, "facebook/musicgen-small", measured("fad", 4.9), measured("kld", 1.4, random=True)
    ).set_index("metric")
    assert frame.loc["fad", "published"] == 4.88 and math.isnan(frame.loc["kld", "published"])


def test_another_protocol_is_not_joined(published):
    row = joined(published, "facebook/musicgen-small", measured("fad", 4.88, protocol="fadtk")).iloc[0]
    assert math.isnan(row.published) and not row.comparable
    assert row.note == "published as 4.88 under the protocol 'musicgen', measured under 'fadtk': not compared"
    # the one published CLAP score of a stereo checkpoint is on another prompt set and under another protocol
    row = joined(
        published, "facebook/musicgen-stereo-large", measured("clap_score", 0.31), dataset="song_describer"
    ).iloc[0]
    assert math.isnan(row.published) and "under the protocol 'stable_audio'" in row.note


def test_stable_audio_s_numbers_are_compared_under_its_protocol_and_on_its_captions_only(published):
    stereo, on = "facebook/musicgen-stereo-large", {"dataset": "song_describer"}
    (kld,) = (p for p in published if (p.model, p.metric, p.dataset) == (stereo, "kld", "song_describer"))
    assert (kld.value, kld.subset, kld.n, kld.protocol) == (0.52, "no_singing", 586, "stable_audio")
    assert kld.prompts is not None and kld.prompts.n == 586
    row = joined(published, stereo, measured("kld", 0.5), **on).iloc[0]
    assert math.isnan(row.published) and math.isnan(row.difference) and not row.comparable
    assert row.note.startswith("published as 0.52 under the protocol 'stable_audio', measured under 'musicgen'")
    row = joined(published, stereo, measured("kld", 0.5, protocol="stable_audio"), **on).iloc[0]
    assert row.published == 0.52
    found = [r.text for r in reasons(comparable_record(stereo, {"kld": 0.5}), "m", "kld", kld)]
    assert "protocol musicgen, published stable_audio" in found and "duration not known, as published" in found
    assert any("prompts of musiccaps, published song_describer" in text for text in found)


def test_other_prompts_and_other_models_have_no_published_value(published):
    row = joined(published, "facebook/musicgen-small", measured("fad", 4.9), dataset="my_prompts").iloc[0]
    assert math.isnan(row.published) and row.note == "no published numbers are known for the prompt set 'my_prompts'"
    row = joined(published, None, measured("fad", 4.9)).iloc[0]
    assert math.isnan(row.published) and row.note == "not a checkpoint that numbers were published for"


def test_the_document_itself_is_preferred_to_a_quote(published):
    card = next(p for p in published if (p.model, p.metric) == ("facebook/musicgen-small", "fad"))
    quote = Published(**{**card.__dict__, "value": 9.0, "primary": False, "source": "a quote"})
    row = joined([quote, card], card.model, measured("fad", 4.9)).iloc[0]
    assert (row.published, row.source) == (4.88, "MusicGen model card")
    assert joined([quote], card.model, measured("fad", 4.9)).iloc[0].published == 9.0


def test_a_nan_score_keeps_its_published_value(published):
    row = joined(published, "facebook/musicgen-small", measured("fad", math.nan)).iloc[0]
    assert row.published == 4.88 and math.isnan(row.difference)


def test_a_row_that_is_no_model_is_not_compared_and_nothing_is_said_of_it(published):
    """Such as a calibration row, even where a model of that name has published numbers."""
    other = joined(published, None, measured("fad", 4.9), calibration=True).iloc[0]
    assert math.isnan(other.published) and not other.comparable and (other.note, other.source) == ("", "")


def test_the_scores_keep_their_columns_and_their_notes(published):
    own = {**measured("fad", 4.9, n=11), "note": "two clips are silent"}
    first, second, *_ = joined(published, "facebook/musicgen-small", own).iloc[0].note.splitlines()
    assert (first, second) == ("two clips are silent", "fewer prompts than published: n 11, published 12")


@pytest.mark.parametrize(
    ("claimed", "near"),
    [
        ("facebook/musicgen-smal", "facebook/musicgen-small"),
        ("Facebook/MusicGen-Small", "facebook/musicgen-small"),
        ("musicgen-small", "facebook/musicgen-small"),
        ("facebok/musicgen-stereo-medium", "facebook/musicgen-stereo-medium"),
        ("me/musicgen-melody", "facebook/musicgen-melody"),
    ],
)
def test_a_misspelt_hub_id_is_noticed(published, claimed, near):
    with pytest.raises(EvalkitError, match=f"model.folder.published={claimed}: did you mean '{near}'"):
        require_known("model.folder.published", claimed, published)


def test_hub_ids_that_are_like_no_known_one_are_allowed(published):
    for claimed in ("facebook/musicgen-small", "suno/bark-small", "me/my-model", "stabilityai/stable-audio-2"):
        require_known("model.folder.published", claimed, published)


def test_others_lists_what_the_table_does_not_show(published):
    frame = others("musiccaps", ["fad", "kld"], published, besides=["facebook/musicgen-small"])
    assert list(frame.columns)[:4] == ["model", "condition", "fad", "kld"]
    assert "facebook/musicgen-small" not in set(frame["model"])
    assert not frame["model"].str.contains("stereo").any()  # named by the card, but without a number
    rows = frame.set_index("model")
    assert rows.loc["FluxMusic", ["fad", "kld"]].tolist() == [1.43, 1.25]
    assert rows.loc["AudioLDM2-Full", "protocol"] == "audioldm_eval"
    assert rows.loc["MusicLM", "protocol"] == "unknown" and math.isnan(rows.loc["MusicLM", "kld"])
    assert "mislabelled" in rows.loc["MusicGen 1.5B (as FluxMusic labels it)", "caveat"]
    assert rows.loc["facebook/musicgen-medium", "primary"] and not rows.loc["Riffusion", "primary"]


def test_others_on_song_describer_has_the_stereo_numbers(published):
    frame = others("song_describer", ["fd_openl3", "kld", "clap_score"], published).set_index("model")
    row = frame.loc["facebook/musicgen-stereo-large"]
    assert row[["fd_openl3", "kld", "clap_score"]].tolist() == [190.47, 0.52, 0.31]
    assert set(frame["protocol"]) == {"stable_audio"}
    assert len(others("nothing", ["fad"], published)) == 0


GOOD = (FOLDER / "jen1_paper.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "bogus: 1\n", "bogus"),
        (GOOD.replace("kld: 1.29", "kdl: 1.29"), "unknown metric 'kdl': did you mean 'kld'?"),
        (GOOD + "caveats: {kdl: x}\n", "unknown metric 'kdl'"),
        (GOOD.replace("model: JEN-1", "model: JEN-1\n    note: x"), "note"),
        (GOOD.replace("1.29", "high"), "'high'"),
        (GOOD.replace("1.29", ".nan"), "kld is nan"),
        (GOOD.replace("dataset: musiccaps\n", ""), "nothing is given for dataset"),
        (GOOD.replace("primary: false", "primary: maybe"), "maybe"),
        (
            GOOD.replace("protocol: unknown", "protocol: musicgen (changed)"),
            "protocol 'musicgen (changed)': use letters",
        ),
        (GOOD + "dataset: musiccaps\n", "duplicate key dataset"),
        (GOOD.replace("subset: all", "subset: ${oc.env:HOME_}"), "HOME_"),
        (GOOD + "runs: 0\n", "runs is 0: must be at least 1"),
        (GOOD + "tolerance: {kdl: {margin: 1, rounding: 0, because: x}}\n", "unknown metric 'kdl'"),
        (GOOD + "tolerance: {kld: {margin: 1, rounding: 0}}\n", "nothing is given for tolerance.kld.because"),
        (
            GOOD + "tolerance: {kld: {margin: wide, rounding: 0, because: x}}\n",
            "kld.margin is 'wide': must be",
        ),
        (GOOD + "tolerance: {kld: {margin: -1, rounding: 0, because: x}}\n", "tolerance.kld.margin is -1: must not be"),
        (
            GOOD + "tolerance: {kld: {margin: 1, rounding: .inf, because: x}}\n",
            "kld.rounding is inf: must be",
        ),
        (
            GOOD + "tolerance: {kld: {margin: 100 %, rounding: 0.005, because: x}}\n",
            "tolerance.kld.margin is 100 %: must be below 100 %: nothing would differ",
        ),
        (
            GOOD + "tolerance: {kld: {margin: 0.1 %, rounding: 0.005, because: x}}\n",
            "JEN-1: kld: the margin, 0.1 %, is no more than the rounding, 0.005: nothing could be within it",
        ),
        ("- 1\n", "ListConfig"),
        ("rows: [\n", "parsing"),
        ("", "nothing is given for"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, text, message):
    (tmp_path / "a_source.yaml").write_text(text)
    with pytest.raises(EvalkitError) as error:
        load_published(FOLDER, tmp_path)
    assert f"'{tmp_path / 'a_source.yaml'}'" in str(error.value) and message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_cards_that_can_be_reproduced_have_a_tolerance_with_its_reason(published):
    """Twice the rounding at least: what rounds to the published value may be as far from it as what was rounded."""
    given = {(p.source, p.metric): p for p in published if p.tolerance and p.value is not None}
    cards = ("MusicGen model card", "MAGNeT model card")
    assert {*given} == {(card, metric) for card in cards for metric in ("fad", "kld", "clap_score")}
    for (_, name), p in given.items():
        limit = {"fad": Margin(0.03, relative=True), "kld": Margin(0.02), "clap_score": Margin(0.01)}[name]
        assert (p.tolerance.margin, p.tolerance.rounding, p.runs) == (limit, 0.005, 1)
        assert absolute(p.tolerance.margin, p.value) >= 2 * p.tolerance.rounding and len(p.tolerance.because) > 50


def test_the_stereo_checkpoints_name_the_mono_ones_that_they_were_tuned_from(published):
    tuned = {p.model: p.tuned_from for p in published if p.tuned_from}
    kinds = ("small", "medium", "large", "melody", "melody-large")
    assert tuned == {f"facebook/musicgen-stereo-{kind}": f"facebook/musicgen-{kind}" for kind in kinds}


def test_a_user_s_file_is_read_beside_evalkit_s(tmp_path, published):
    """Of the same number in two files both are kept, and evalkit's own, which comes first, is preferred."""
    card = (FOLDER / "musicgen_model_card.yaml").read_text().replace("fad: 4.88", "fad: 4.0")
    (tmp_path / "musicgen_model_card.yaml").write_text(card)
    both = load_published(FOLDER, tmp_path)
    assert len(both) > len(published) and both[: len(published)] == published
    values = {p.source: p.value for p in both if (p.model, p.metric) == ("facebook/musicgen-small", "fad")}
    card = "MusicGen model card"
    assert values == {card: 4.88, f"{card}, from a user's musicgen_model_card.yaml": 4.0}
    assert joined(both, "facebook/musicgen-small", measured("fad", 4.9)).iloc[0].published == 4.88
    assert load_published(FOLDER, tmp_path / "absent") == published


def test_numbers_of_a_user_s_protocol_are_joined_with_that_protocol_only(tmp_path, published):
    card = (FOLDER / "musicgen_model_card.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(card.replace("protocol: musicgen", "protocol: mine").replace("4.88", "7.5"))
    both = load_published(FOLDER, tmp_path)
    values = {
        name: joined(both, "facebook/musicgen-small", measured("fad", 5.0, protocol=name)).iloc[0].published
        for name in ("musicgen", "mine", "mine (changed)", "other")
    }
    assert (values["musicgen"], values["mine"]) == (4.88, 7.5)
    assert math.isnan(values["mine (changed)"]) and math.isnan(values["other"])
