"""The benchmark of what metrics notice: its degradations do what they say, and its table is what was compared."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.signal

from benchmarks.musicnn import network_of
from benchmarks.sensitivity import (
    BASELINE,
    COSTLY,
    Run,
    chosen,
    every_metric,
    merged,
    not_measured,
    said,
    without_values,
)
from benchmarks.sensitivity_clips import AGAIN, DEGRADATIONS, WORSE, Degraded
from evalkit import audio
from evalkit.assets import Asset
from evalkit.config import compose
from evalkit.errors import EvalkitError
from evalkit.prompts.synthetic import made_up
from evalkit.results.sensitivity import COLUMNS, Sensitivity
from evalkit.store.cache import Cache
from tests.benchmarks.bundles import musicnn
from tests.conftest import ROOT

SECONDS, RATE = 1.0, 32000


def clips(degradation: str, prompts: int = 10) -> list[list[np.ndarray]]:
    """Clips of the first prompts, clean and at each strength of a degradation, all played from the same seed."""
    models = [Degraded(prompts=prompts)]
    models += [Degraded(prompts=prompts, **knobs) for knobs in DEGRADATIONS[degradation].knobs.values()]
    return [[model.render(made_up(i + 1), WORSE, SECONDS).samples for i in range(prompts)] for model in models]


def power(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).mean())


def share(sets: list[list[np.ndarray]]) -> list[float]:
    """Of each strength, the share of clips that differ from the clean ones."""
    same = [[np.array_equal(a, b) for a, b in zip(one, sets[0], strict=True)] for one in sets[1:]]
    return [1 - float(np.mean(one)) for one in same]


def test_low_pass_takes_what_is_above_its_cutoff() -> None:
    clean, *rest = clips("low-pass", 2)
    for cutoff, one in zip(DEGRADATIONS["low-pass"].knobs, rest, strict=True):
        above = scipy.signal.butter(8, min(1.3 * cutoff, 15900), "high", fs=RATE, output="sos")
        before, after = (power(scipy.signal.sosfilt(above, side[0])) for side in (clean, one))
        assert after < 0.05 * before


def test_noise_has_the_ratio_that_is_said() -> None:
    clean, *rest = clips("noise", 2)
    for decibels, one in zip(DEGRADATIONS["noise"].knobs, rest, strict=True):
        factor = float((one[0] * clean[0]).sum() / np.square(clean[0]).sum())  # of the level, to stay below full scale
        assert 10 * np.log10(power(clean[0] * factor) / power(one[0] - factor * clean[0])) == pytest.approx(
            decibels, abs=0.2
        )


def test_clipping_puts_more_and_more_samples_at_full_scale() -> None:
    _, *rest = clips("clipping", 3)
    at = [np.mean([(np.abs(clip) == 1).mean() for clip in one]) for one in rest]
    assert 0 < at[0] < at[1] < at[2] < at[3] and at[3] > 0.1


def test_mono_has_no_side_at_last() -> None:
    sets = clips("mono", 3)
    sides = [np.mean([power(clip[0] - clip[1]) for clip in one]) for one in sets]
    assert sides[0] > 2 * sides[1] > 4 * sides[2] > sides[3] == 0


def test_silence_is_of_each_clip_or_of_whole_clips() -> None:
    for strength, one in zip(DEGRADATIONS["silence in clips"].knobs, clips("silence in clips", 2)[1:], strict=True):
        for clip in one:
            assert np.flatnonzero(np.abs(clip).max(axis=0)).max() + 1 <= round((1 - strength) * clip.shape[1])
    whole = clips("silent clips")
    silent = [[not clip.any() for clip in one] for one in whole]
    assert [sum(one) for one in silent] == [0, 0, 0, 1, 3]
    for fewer, more in itertools.pairwise(silent):
        assert all(b or not a for a, b in zip(fewer, more, strict=True))


def test_wrong_captions_are_of_a_share_of_clips() -> None:
    assert share(clips("wrong captions")) == pytest.approx([0.0, 0.1, 0.3, 1.0])


def test_copies_are_of_clips_that_are_there() -> None:
    sets = clips("fewer different clips")
    for strength, one in zip(DEGRADATIONS["fewer different clips"].knobs, sets[1:], strict=True):
        different = {clip.tobytes() for clip in one}
        assert len(different) == max(1, 10 - round(10 * strength))
        assert different <= {clip.tobytes() for clip in sets[0]}


def test_detuning_timing_repetition_and_missing_drums_change_clips() -> None:
    for name, changed in (("detuning", 0.5), ("timing", 1), ("repetition", 0.75), ("drums gone", 0.05)):
        shares = share(clips(name, 10 if name == "drums gone" else 4))
        assert min(shares[2:]) >= changed, name
    drums = [i for i in range(10) if {"drums", "percussion"} & set(made_up(i + 1).tags)]
    clean, *_, gone = clips("drums gone")
    assert {i for i in range(10) if not np.allclose(clean[i], gone[i], atol=1e-4)} <= set(drums)


def test_references_have_the_loudness_that_is_said() -> None:
    levels = [audio.loudness(Degraded(loudness=-14.0).render(made_up(i), 0, 4.0)) for i in range(1, 4)]
    assert levels == pytest.approx([-14] * 3, abs=1.0)  # clipping takes a little


def test_each_part_has_its_strengths_and_its_own_baseline() -> None:
    every, greatest = (Run([], {}, one, 20, SECONDS).strengths() for one in (False, True))
    assert len(every) == len(AGAIN) + sum(len(one.knobs) for one in DEGRADATIONS.values())
    assert [(name, step) for name, step, *_ in greatest[1:]] == [(n, len(d.knobs)) for n, d in DEGRADATIONS.items()]
    assert len({f"{name} {step}" for name, step, *_ in every} - {BASELINE}) == len(every)


@pytest.mark.parametrize("part", ["cheap", "costly", "published"])
def test_the_options_of_a_part_compose(part: str) -> None:
    run = chosen(part, None, ["uncertainty.level=0.9"], 20, SECONDS)
    config = compose(["prompts=synthetic", "model=synth", *run.options])
    assert config.uncertainty.level == 0.9 and (config.random_weights is None) == (part == "published")
    assert "kld_sigmoid" not in config.metric if part == "costly" else "chroma" in config.metric
    own = chosen(part, None, ["metric=[chroma]"], 20, SECONDS)
    assert list(compose(["prompts=synthetic", "model=synth", *own.options]).metric) == ["chroma"]
    assert run.greatest == (part == "costly") and set(COSTLY) <= set(every_metric())


def test_published_weights_are_asked_for_before_anything_is_rendered(tmp_path: Path) -> None:
    run = chosen("published", None, ["metric=[fad]", f"cache_dir={tmp_path}", f"output_dir={tmp_path}"], 3, 1.0)
    with pytest.raises(EvalkitError, match=r"VGGish[^\n]*evalkit fetch"):
        run.rows()
    assert not [*tmp_path.rglob("*.flac")]


def test_metrics_that_were_not_measured_are_named_with_the_reason() -> None:
    found = not_measured(["fad", "recall", "mono_share", "clap_score"])
    assert {"kad", "fad_clap", "kld", "unknown_pieces"} <= set(found)
    assert {"fad", "precision_recall", "stereo", "clap_score"}.isdisjoint(found)  # one metric of a file will do
    assert found["kad"] != found["kld"]


@pytest.mark.slow
def test_weights_of_a_file_are_marked_as_trained(tmp_path: Path) -> None:
    path = musicnn(tmp_path / "musicnn-0.1.0-py3-none-any.whl", network_of(Asset("", random_seed=0), Cache(tmp_path)))
    run = chosen("trained", str(path), [f"cache_dir={tmp_path}", f"output_dir={tmp_path}"], 20, 1.0)
    found = replace(run, greatest=True).rows()
    assert set(found["weights"]) == {"trained"} and set(found["encoder"]) == {"musicnn"}
    assert {"fad_musicnn", "kld_musicnn", "mad_musicnn"} <= set(found["metric"]) and without_values(found) == {}
    assert (found["title"][:2] == ["FAD (musicnn)", "KAD (musicnn)"]).all()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("sensitivity")
    few = {name: DEGRADATIONS[name] for name in ("noise", "clipping", "wrong captions")}
    options = ["metric=[chroma,clipping,stereo]", f"cache_dir={folder}", f"output_dir={folder}", "engine.quiet=true"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.sensitivity.DEGRADATIONS", few)
        return Run(options, {}, True, 12, 1.0).rows()


def test_the_table_is_that_of_paired_comparisons(rows: pd.DataFrame, tmp_path: Path) -> None:
    assert list(rows.columns) == list(COLUMNS) and (rows["n"] == 12).all()
    merged(tmp_path / "table.csv", rows).to_csv(tmp_path / "table.csv", index=False)
    table = Sensitivity.load(tmp_path / "table.csv")
    assert list(table.degradations) == ["noise", "clipping", "wrong captions"] and {
        one.weights for one in table.metrics
    } == {"none"}
    clipped, captions = table.response("clipped_clips", "clipping"), table.response("chroma", "wrong captions")
    assert clipped is not None and captions is not None
    assert clipped.strengths[0].value == 1 and clipped.strengths[0].seen == "worse" and not clipped.blind
    assert captions.metric.direction == "higher" and captions.strengths[0].seen == "worse"
    assert captions.strengths[0].difference == pytest.approx(captions.strengths[0].value - captions.strengths[0].clean)
    assert said(captions).startswith("from 1 of clips")
    mono = table.response("mono_share", "noise")
    assert mono is not None and mono.blind and said(mono) == "blind"


def test_rows_take_the_place_of_the_same_metrics(rows: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    merged(path, rows).to_csv(path, index=False)
    again = merged(path, rows[rows["metric"] == "chroma"].assign(value=0.5))
    assert len(again) == len(rows) and (again.loc[again["metric"] == "chroma", "value"] == 0.5).all()


def test_metrics_without_a_value_are_named_and_not_called_blind(rows: pd.DataFrame) -> None:
    broken = rows.assign(value=rows["value"].where(rows["metric"] != "chroma"), note="too few clips")
    assert without_values(broken) == {"chroma": "too few clips"}
    assert without_values(rows) == {}


def test_the_table_that_is_shipped_is_read() -> None:
    table = Sensitivity.load()
    assert set(table.degradations) == set(DEGRADATIONS)
    assert {"trained", "none"} <= {one.weights for one in table.metrics}
    assert (ROOT / "results/benchmarks/sensitivity.json").is_file()
