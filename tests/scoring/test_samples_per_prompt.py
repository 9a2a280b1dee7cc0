"""Several clips of each prompt: which are asked for, and how they are scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

import evalkit
from evalkit.encoders.levels import Levels
from evalkit.errors import EvalkitError
from evalkit.metrics import mean_over_items
from evalkit.metrics.fad import FAD
from evalkit.plan import Plan
from evalkit.prompts.selection import sampled
from evalkit.results.joined import join
from evalkit.results.result import Result
from evalkit.results.scored import Pair
from evalkit.scoring.scores import Measurement, score_of
from evalkit.settings import Uncertainty
from evalkit.slices import Group
from evalkit.stats.bootstrap import draws, interval
from evalkit.stats.means import mean_interval
from evalkit.types import Clip, Features, Measured, Prompt, PromptSet
from tests.engines import cpu
from tests.scoring import made
from tests.scoring.made import Length, plan, write

IDS = tuple("abcdef")
PROMPTS = PromptSet("x", "all", 6, tuple(Prompt(i, f"caption {i}") for i in IDS), "")


@dataclass(frozen=True)
class Mean:
    """The mean of all items of all clips."""

    encoder: Levels = field(default_factory=Levels)
    kind: ClassVar[str] = "mean"
    title: ClassVar[str] = "mean"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True
    reference_encoder: ClassVar[None] = None

    def __call__(self, generated: Features, reference: Features | None) -> Measured:
        return mean_over_items(generated.ids, [value.mean(axis=1) for value in generated.values])


def random_features(seed: int, ids: tuple[str, ...] = IDS, frames: int = 5) -> Features:
    rng = np.random.default_rng(seed)
    return Features(ids, tuple(rng.standard_normal((frames, 3)).astype(np.float32) for _ in ids))


def clips(folder: Path, sample: int, ids: tuple[str, ...] = IDS) -> list[Clip]:
    """One clip for each prompt, of 2 s and of a level of its own."""
    names = [i if sample == 1 else f"{i}#{sample}" for i in ids]
    return [write(folder / f"{name}.wav", 2, 0.02 * k + 0.01 * sample) for k, name in enumerate(names, 1)]


def with_ids(clips: list[Clip]) -> list[Clip]:
    return [dataclasses.replace(clip, id=i) for clip, i in zip(clips, IDS, strict=True)]


def test_further_samples_follow_all_first_ones() -> None:
    prompts = PROMPTS.prompts[:2]
    assert sampled(prompts, 1) == list(prompts)
    asked = sampled(prompts, 3)
    assert [p.id for p in asked] == ["a", "b", "a#2", "b#2", "a#3", "b#3"]
    assert [p.text for p in asked] == ["caption a", "caption b"] * 3


def test_an_id_that_is_another_prompts_sample_is_refused() -> None:
    prompts = [Prompt("a", "x"), Prompt("a#3", "y")]
    assert len(sampled(prompts, 2)) == 4
    with pytest.raises(EvalkitError, match="'a#3' is both a prompt of its own and clip 3 of 'a': rename"):
        sampled(prompts, 3)


def test_a_score_is_the_mean_over_sets_of_one_clip_per_prompt(tmp_path: Path) -> None:
    run = plan(tmp_path, fad=FAD(Length()), mean=Mean())
    for name, other in (("fad", random_features(9)), ("mean", None)):
        samples: list[Pair] = [(random_features(seed), other) for seed in range(3)]
        score = score_of(run, "m", name, samples)
        alone = [score_of(run, "m", name, [sample]) for sample in samples]
        assert score.value == np.mean([one.value for one in alone])
        assert len({one.value for one in alone}) == 3
        assert [m.per_clip for m in score.measured] == [m.per_clip for one in alone for m in one.measured]
        assert score.n == 6
        # prompts are the units: the same ones are drawn in each of the sets
        metric, weights = run.metrics[name], draws(6, 1000, 0)
        if name == "fad":
            drawn = np.mean([metric(*sample).resampled(weights, weights) for sample in samples], axis=0)  # type: ignore[misc]
            expected = interval(score.value, drawn, 0.95, 6, metric.bounds)
        else:
            parts = np.array([list(metric(*sample).parts.values()) for sample in samples])
            expected = mean_interval(parts[..., 0], parts[..., 1], 0.95)
        assert (score.low, score.high) == expected


def test_samples_narrow_the_interval_as_far_as_they_differ(tmp_path: Path) -> None:
    run, ids = plan(tmp_path, mean=Mean()), tuple(str(i) for i in range(200))

    def width(samples: list[Features]) -> float:
        score = score_of(run, "m", "mean", [(sample, None) for sample in samples])
        return score.high - score.low

    rng = np.random.default_rng(0)
    own = [random_features(seed, ids, 1) for seed in range(4)]
    prompt = 3 * rng.standard_normal((200, 1, 1)).astype(np.float32)
    mixed = [Features(ids, tuple(np.stack(one.values) + prompt)) for one in own]
    single = np.mean([width([one]) for one in own])
    assert width([own[0]] * 4) == pytest.approx(width([own[0]]), rel=1e-12)  # four times the same clips
    assert width(own) == pytest.approx(single / 2, rel=0.1)  # 1/√4: nothing but noise of each clip
    # the spread between prompts stays: σ² 9 between them and 1/3 of each clip
    expected = np.sqrt((9 + 1 / 12) / (9 + 1 / 3))
    assert width(mixed) / np.mean([width([one]) for one in mixed]) == pytest.approx(expected, rel=0.02)


def measure(run: Plan, references: list[Clip], sets: list[list[Clip]], slices: Sequence[Group] = ()) -> Measurement:
    """Measure a model's clips, given as sets of one clip per prompt."""
    return made.measure(run, references, {"m": [clip for own in sets for clip in own]}, slices, prompts=PROMPTS)


def test_clips_of_each_sample_are_compared_with_the_prompts_reference(tmp_path: Path) -> None:
    references = with_ids(clips(tmp_path / "r", 7))
    references[2] = write(tmp_path / "r" / "c.wav", 1.5)  # so that the clips of one prompt are cut
    run = dataclasses.replace(plan(tmp_path, fad=FAD(Levels()), mean=Mean()), uncertainty=Uncertainty(resamples=0))
    sets = [clips(tmp_path / "g", sample) for sample in (1, 2, 3)]
    groups = [Group("tag", "some", frozenset("ace"))]
    together = measure(run, references, sets, groups)
    alone = [measure(run, references, [with_ids(own)], groups) for own in sets]
    assert list(together.scores) == [("m", "fad"), ("m", "mean")]
    for k, (key, score) in enumerate(together.scores.items()):
        assert score.value == np.mean([one.scores[key].value for one in alone])
        assert together.slices["value"][k] == np.mean([one.slices["value"][k] for one in alone])
    assert together.slices["n"].tolist() == [3, 3]
    assert [clip.id for clip in together.generated["m"]] == [clip.id for own in sets for clip in own]
    table = together.clips
    assert list(table.columns[:3]) == ["model", "id", "sample"]
    assert table["id"].tolist() == list(IDS) * 3 and table["sample"].tolist() == [1] * 6 + [2] * 6 + [3] * 6
    assert table["mean"].tolist() == [value for one in alone for value in one.clips["mean"]]
    assert table["mean"].nunique() == 18
    for kept, single in ((table, "clips"), (together.values, "values")):
        expected = pd.concat(
            [getattr(one, single).assign(sample=number) for number, one in enumerate(alone, 1)], ignore_index=True
        )
        if single == "values":
            kept, expected = (frame.sort_values(["sample", "metric"], kind="stable") for frame in (kept, expected))
        pd.testing.assert_frame_equal(kept.reset_index(drop=True), expected.reset_index(drop=True))
    assert all((one.clips["sample"] == 1).all() for one in alone)


def test_a_prompt_with_an_unusable_clip_does_not_count(tmp_path: Path) -> None:
    sets = [clips(tmp_path / "g", sample) for sample in (1, 2)]
    broken = sets[1][3].path
    assert broken is not None
    broken.write_bytes(b"RIFF")
    run = plan(tmp_path, mean=Mean())
    with pytest.raises(EvalkitError, match=r"m: 1 of 12 clips are not usable \(d#2: "):
        measure(run, clips(tmp_path / "r", 7), sets)
    measured = measure(dataclasses.replace(run, engine=cpu(keep_going=True)), clips(tmp_path / "r", 7), sets)
    (score,) = measured.scores.values()
    others = tuple(k for k, i in enumerate(IDS) if i != "d")
    values = measured.clips["mean"].to_numpy().reshape(2, 6)
    assert score.n == 5 and np.isfinite(score.low)
    np.testing.assert_allclose(score.value, values[:, others].mean(), rtol=1e-6)
    assert np.isnan(values[:, 3]).all()  # of its good clip, nothing was measured
    assert measured.clips["status"].tolist().count("unreadable") == 1


def test_notes_that_differ_name_their_sample(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Noted(Mean):
        kind: ClassVar[str] = "noted mean"

        def __call__(self, generated: Features, reference: Features | None) -> Measured:
            return dataclasses.replace(super().__call__(generated, reference), note=f"{generated.values[0][0, 0]:.2f}")

    run = plan(tmp_path, noted=Noted())
    one, other = random_features(0), random_features(1)
    assert "\n" not in score_of(run, "m", "noted", [(one, None), (one, None)]).note
    lines = score_of(run, "m", "noted", [(one, None), (other, None)]).note.splitlines()
    assert [line.split(":")[0] for line in lines] == ["clip 1 of each prompt", "clip 2 of each prompt"]


def run(folder: Path, *options: str) -> Result:
    base = ["prompts=demo", "prompts.first=3", "metric=[chroma]", "sampling.duration=1.5", "calibration=[noise]"]
    return evalkit.evaluate(*base, f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}", *options)


def test_a_run_says_how_many_clips_there_are(tmp_path: Path) -> None:
    one, two = run(tmp_path, "model=synth"), run(tmp_path, "model=synth", "sampling.samples_per_prompt=2")
    assert one.clips.sha256.tolist()[:3] == two.clips.sha256.tolist()[:3]  # the first clips are the same ones
    assert two.clips.sha256[:6].nunique() == 6
    assert two.table[["model", "clips", "prompts"]].values.tolist() == [["synth", 6, 3], ["white noise", 3, 3]]
    text = (two.path / "table.md").read_text()
    assert "3 of 12 prompts, 2 clips each" in text and "6 of 6" in text and "(n " not in text
    assert "2 clips of each prompt: values are means over 2 sets of one clip per prompt" in text
    assert "2 clips" not in (one.path / "table.md").read_text()
    joined = join([one, two], across_protocols=False)
    assert "synth: not the same clips in all results" in joined.notes


def test_a_folder_holds_the_further_clips_by_name(tmp_path: Path) -> None:
    first = run(tmp_path, "model=synth")
    folder = tmp_path / "clips"
    for k, id in enumerate(first.clips["id"][:3]):
        write(folder / f"{id}.wav", 1.5)
        write(folder / f"{id}#2.wav", 1.5 if k else 0.5)
    options = ["model=folder", f"model.folder.path={folder}", "sampling.samples_per_prompt=2", "calibration=[]"]
    with pytest.raises(EvalkitError, match=r"1 of 6 clips are not usable \(demo-piano1#2: 0\.50 s"):
        run(tmp_path, *options)
    result = run(tmp_path, *options, "engine.keep_going=true")
    text = (result.path / "table.md").read_text()
    assert "5 of 6" in text and "(n 2)" in text and "clips 5 of 6 (1 too short)" in text
