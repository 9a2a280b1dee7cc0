"""A published value is reproduced only where all that it fixes is the same, and numbers can tell."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.stats import norm
from scipy.stats import t as student_t

import evalkit
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.models import Generate
from evalkit.models.folder import Folder
from evalkit.results.beside import compared
from evalkit.results.comparable import prompt_digests
from evalkit.results.gate import Margin
from evalkit.results.published import Prompts, Published, Tolerance, load_published
from evalkit.results.record import Record
from evalkit.results.reproduced import MORE_SEEDS, NO_NOISE, NO_SPREAD, NOBODY_CHECKS, Measured, Verdict, judge
from evalkit.results.summary import notes, table
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.seeds import noise_seed
from evalkit.types import Prompt
from tests.results.claimed import Offset, Pinned, RandomOffset, Tuned, Unchecked, publish, run
from tests.results.made import comparable_record, of_these_prompts
from tests.results.test_comparable import BROKEN, FOLDER, PASST, SMALL, of_clips, of_metric, of_row, of_scores

SEEDS = {"sets": 3, "seed_sd": 0.002, "spread": 0.3}
NUMBER = Published(
    model=SMALL,
    metric="kld",
    value=1.42,
    dataset="musiccaps",
    subset="all",
    prompts=Prompts(5521, "", ""),
    n=5469,
    duration=10.0,
    sampling={},
    protocol="musicgen",
    condition="",
    source="a card",
    url="",
    primary=True,
    released=True,
    caveats=(),
    runs=1,
    tolerance=Tolerance(Margin(0.02), 0.005, "made up"),
)
MEASURED = Measured(value=1.42, sets=3, seed_sd=0.002, spread=0.3, n=5469, checkable=True)


@pytest.fixture
def measured() -> Record:
    """Of the twelve prompts of `published`, over three seeds."""
    made = comparable_record(SMALL, {"fad": 4.9, "kld": 1.421})
    return of_metric(of_scores(made, **SEEDS), weights=(PASST,))


@pytest.fixture
def published(measured: Record) -> Published:
    found = [p for p in load_published(FOLDER) if (p.model, p.metric) == (SMALL, "kld")]
    (value,) = of_these_prompts(measured, found)
    return value


def beside(record: Record, published: Published) -> Any:
    """The score of KLD beside a published value."""
    return compared(record, [published]).iloc[1]


def test_a_value_within_the_tolerance_is_reproduced_and_what_nobody_can_check_is_said(
    measured: Record, published: Published
) -> None:
    row = beside(measured, published)
    assert row.verdict == "REPRODUCED" and (row.rounding, row.tolerance) == (0.005, 0.02)
    checked, unchecked = row.verdict_reason.split("; not verified: ")
    assert checked == "difference +0.001 [-0.014, 0.016] is within ±0.020"
    assert "references" in unchecked and f"{SMALL}@main" in unchecked and "PaSST weights" in unchecked
    assert f"REPRODUCED: {checked}" in row.note.splitlines()


def test_the_interval_is_that_of_seeds_given_the_prompts_with_the_rounding(
    measured: Record, published: Published
) -> None:
    """Mean of three seeds against one: s √(1/3 + 1), Student's t with 2 degrees of freedom, and half a last digit."""
    row = beside(measured, published)
    half = student_t.ppf(0.975, 2) * 0.002 * math.sqrt(1 / 3 + 1) + 0.005
    assert (row.difference_low, row.difference_high) == pytest.approx((0.001 - half, 0.001 + half))
    assert beside(replace(measured, uncertainty={**measured.uncertainty, "level": 0.5}), published).equals(row)


@pytest.mark.parametrize(("condition", "text", "broken"), BROKEN, ids=[f"{c}: {t}"[:60] for c, t, _ in BROKEN])
def test_nothing_is_reproduced_where_anything_that_was_published_is_not_so(
    condition: str, text: str, broken: Callable[[Record], Record], measured: Record, published: Published
) -> None:
    row = beside(broken(measured), published)
    if condition == "missing":
        assert row.verdict == "UNDECIDED" and "1 more reference would decide" in row.verdict_reason
    elif text.startswith("not a checkpoint that numbers"):
        assert row.verdict == "" and text in row.note
    else:
        assert row.verdict == "NOT COMPARABLE" and math.isnan(row.difference_low)
        assert text in row.verdict_reason or math.isnan(row.published)


@pytest.mark.parametrize("unknown", ["prompts", "n", "duration", "sampling", "tolerance"])
def test_nothing_is_reproduced_of_what_a_source_does_not_say(
    unknown: str, measured: Record, published: Published
) -> None:
    row = beside(measured, replace(published, **{unknown: None}))
    assert row.verdict == "NOT COMPARABLE" and row.verdict_reason
    assert (row.verdict_reason in row.note) and math.isnan(row.difference_low)


def test_too_good_is_not_reproduced_either(measured: Record, published: Published) -> None:
    for value, verdict in ((1.46, "DIFFERS (higher)"), (1.38, "DIFFERS (lower)")):
        row = beside(of_scores(measured, value=value), published)
        assert row.verdict == verdict and "is beyond ±0.020; not verified: " in row.verdict_reason


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(seeds: int, measured: Record, published: Published) -> None:
    sd = math.nan if seeds == 1 else 0.0
    for value in (1.42, 9.0):
        row = beside(of_scores(measured, sets=seeds, seed_sd=sd, value=value), published)
        assert (row.verdict, row.verdict_reason) == ("UNDECIDED", MORE_SEEDS)
    assert "samples_per_prompt=3" in MORE_SEEDS


@pytest.mark.parametrize("sd", [0.0, 1e-10])
def test_seeds_that_make_the_same_value_decide_nothing(sd: float, measured: Record, published: Published) -> None:
    """Also where it differs in its last digits alone: an interval without width would be within any tolerance."""
    for value in (1.42, 9.0):
        row = beside(of_scores(measured, seed_sd=sd, value=value), published)
        assert (row.verdict, row.verdict_reason) == ("UNDECIDED", NO_NOISE) and math.isnan(row.difference_low)
    assert beside(of_scores(measured, seed_sd=1e-8), published).verdict == "REPRODUCED"
    assert beside(of_scores(measured, sets=1, seed_sd=math.nan), published).verdict_reason == MORE_SEEDS


def test_a_published_value_that_is_taken_for_a_mean_says_so(measured: Record, published: Published) -> None:
    row = beside(measured, replace(published, runs=5))
    said = "is within ±0.020, the published value being taken for a mean of 5 runs; not verified: "
    assert row.verdict == "REPRODUCED" and said in row.verdict_reason
    assert "a mean of" not in beside(measured, published).verdict_reason


def test_clips_that_were_there_are_never_taken_for_a_reproduction(measured: Record, published: Published) -> None:
    there = of_row(measured, generated=False, checkpoint=None, definition="Folder(…)")
    row = beside(there, published)
    assert row.verdict == "UNDECIDED" and row.verdict_reason.endswith(f"is within ±0.020: {NOBODY_CHECKS}")
    row = beside(of_scores(there, seed_sd=0.01), published)
    assert row.verdict == "UNDECIDED" and row.verdict_reason.endswith(NOBODY_CHECKS)
    row = beside(of_scores(there, value=1.5), published)
    assert row.verdict == "DIFFERS (higher)"
    assert row.verdict_reason.endswith(f"taken for {SMALL}; references; PaSST weights (passt.pt, 111111111111)")


def test_clips_of_weights_that_are_not_known_are_no_reproduction_either(measured: Record, published: Published) -> None:
    """As of a model of the user's own, which only claims a checkpoint."""
    unknown = of_row(measured, checkpoint=None)
    row = beside(unknown, published)
    assert row.comparable and row.verdict == "UNDECIDED"
    assert row.verdict_reason.endswith(f"is within ±0.020: {NOBODY_CHECKS}")
    row = beside(of_scores(unknown, value=1.5), published)
    assert (
        row.verdict == "DIFFERS (higher)" and f"not verified: checkpoint of m, taken for {SMALL}" in row.verdict_reason
    )


def test_with_some_references_missing_a_difference_is_seen_but_nothing_is_reproduced(
    measured: Record, published: Published
) -> None:
    few = of_scores(measured, n=11, spread=0.01)
    row = beside(few, published)
    assert row.verdict == "UNDECIDED" and row.verdict_reason.endswith("is within ±0.020: 1 more reference would decide")
    assert not row.comparable and "fewer prompts than published: n 11, published 12" in row.note.splitlines()
    assert beside(of_scores(few, value=1.6), published).verdict == "DIFFERS (higher)"
    row = beside(of_scores(few, spread=math.nan, value=1.6), published)
    assert (row.verdict, row.verdict_reason) == ("UNDECIDED", NO_SPREAD)
    row = beside(of_scores(few, n=10), published)  # fewer than nine in ten
    assert (row.verdict, row.verdict_reason) == ("NOT COMPARABLE", "n 10, published 12")
    assert "not comparable: n 10, published 12" in row.note.splitlines()


def test_which_prompts_are_missing_is_an_error_of_its_own() -> None:
    """Two parts of the 5,521 prompts, drawn without replacement: σ² (1/n - 1/N) each."""
    for n in (4922, 5469, 5521):
        seeds, prompts = 0.002 * math.sqrt(1 + 1 / 3), 0.3 * math.sqrt(1 / n + 1 / 5469 - 2 / 5521)
        half = math.hypot(student_t.ppf(0.975, 2) * seeds, norm.ppf(0.975) * prompts) + 0.005
        judged = judge(replace(MEASURED, n=n), NUMBER)
        assert (judged.low, judged.high) == pytest.approx((-half, half))
        assert judged.verdict == ("UNDECIDED" if n < 5469 else "REPRODUCED")
    assert judge(replace(MEASURED, n=4922), NUMBER).reason.endswith("547 more references would decide")


def test_as_many_seeds_decide_as_are_said_to() -> None:
    noisy = replace(MEASURED, value=1.426, seed_sd=0.0035)
    first = judge(noisy, NUMBER)
    words = first.reason.split()
    assert first.verdict == "UNDECIDED" and first.reason.endswith("seeds would decide, if nothing else changes")
    needed = int(words[words.index("seeds") - 1])
    assert judge(replace(noisy, sets=needed - 1), NUMBER).verdict == "UNDECIDED"
    assert judge(replace(noisy, sets=needed), NUMBER).verdict == "REPRODUCED"
    both = judge(replace(noisy, n=5300), NUMBER).reason
    assert both.endswith(f": 169 more references and {needed} seeds would decide, if nothing else changes")


def test_where_no_number_of_seeds_decides_that_is_said() -> None:
    """The published value is one seed's, and rounded: 1.96 standard deviations and half a last digit."""
    judged = judge(replace(MEASURED, seed_sd=0.01, n=5521), replace(NUMBER, n=5521))
    assert judged.verdict == "UNDECIDED"
    assert judged.reason.endswith(
        ": no number of seeds would decide, since the published value, of 1 run and rounded, is known to ±0.025"
    )
    more = replace(NUMBER, n=5521, runs=10)
    assert "seeds would decide, if" in judge(replace(MEASURED, seed_sd=0.01, n=5521), more).reason


def test_a_share_is_one_of_the_published_value() -> None:
    share = replace(NUMBER, value=-5.0, tolerance=Tolerance(Margin(0.03, relative=True), 0.005, "made up"))
    assert judge(replace(MEASURED, value=-5.0), share).tolerance == pytest.approx(0.15)


def test_rows_that_claim_no_checkpoint_have_no_verdict(measured: Record, published: Published) -> None:
    two = replace(measured, prompts_info=replace(measured.prompts_info, form="pairs"))
    for record in (of_row(measured, calibration=True, published=None), of_row(measured, published=None), two):
        row = beside(record, published)
        assert (row.verdict, row.verdict_reason) == ("", "")


def test_random_weights_reproduce_nothing(measured: Record, published: Published) -> None:
    row = beside(of_scores(measured, random_weights=True), published)
    assert row.verdict == "NOT COMPARABLE" and math.isnan(row.published)
    assert row.verdict_reason == "random weights: not compared with published numbers"


def test_clips_that_are_alike_are_no_seeds(measured: Record, published: Published) -> None:
    """Else a model that ignores its seed would have no noise at all."""
    thrice = pd.concat([measured.clips.assign(sample=k) for k in (1, 2, 3)], ignore_index=True)
    row = beside(replace(measured, clips=thrice), published)
    assert row.verdict == "NOT COMPARABLE" and row.verdict_reason == "only 12 of 36 clips are different"
    other = of_clips(replace(measured, clips=thrice), sha256=[str(k) for k in range(36)])
    assert beside(other, published).verdict == "REPRODUCED"


def test_a_stereo_checkpoint_has_the_value_of_the_one_it_was_tuned_from_beside_it_for_context() -> None:
    made = comparable_record("facebook/musicgen-stereo-small", {"fad": 5.0, "kld": 1.4})
    frame = compared(made, of_these_prompts(made, load_published(FOLDER)))
    assert frame["context"].tolist() == [4.88, 1.42] and set(frame["tuned_from"]) == {SMALL}
    assert frame["published"].isna().all() and set(frame["verdict"]) == {"NOT COMPARABLE"}
    assert "no FAD, KLD or CLAP score was published" in frame["verdict_reason"][0]
    said = notes(replace(made, scores=frame))
    assert f"for context only: fad 4.88, kld 1.42 as published for {SMALL}, which m was tuned from" in said
    other = of_metric(made, protocol="mine")
    assert compared(other, load_published(FOLDER))["context"].isna().all()
    mono = comparable_record(SMALL, {"fad": 5.0})
    row = compared(mono, of_these_prompts(mono, load_published(FOLDER))).iloc[0]
    assert math.isnan(row.context) and row.tuned_from == ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("published")


# What was published, who makes the clips, of how many seeds; the made-up model's offset is 10 % but for noise.
REACHED: list[tuple[Verdict, str, float | None, dict[str, Any], Any, int]] = [
    ("REPRODUCED", "is within ±0.500", 10.0, {}, Offset(), 3),
    ("DIFFERS (higher)", "is beyond ±0.450", 9.0, {}, Offset(), 3),
    ("DIFFERS (lower)", "is beyond ±0.550", 11.0, {}, Offset(), 3),
    ("UNDECIDED", "3 seeds or more are needed", 10.0, {}, Offset(), 1),
    ("UNDECIDED", "seeds would decide", 9.5, {}, Offset(), 3),
    ("UNDECIDED", f"is within ±0.500: {NOBODY_CHECKS}", 10.0, {}, Unchecked(), 3),
    ("DIFFERS (lower)", "checkpoint of m, taken for someone/offset", 11.0, {}, Unchecked(), 3),
    ("NOT COMPARABLE", "n 20, published 19", 10.0, {"n": 19}, Offset(), 3),
    ("NOT COMPARABLE", "noise 0.05, published 0", 10.0, {"sampling": "{level: 10.0, noise: 0.0}"}, Offset(), 3),
    ("NOT COMPARABLE", "no tolerance", 10.0, {"tolerance": "{}"}, Offset(), 3),
    ("NOT COMPARABLE", "no value was published", None, {}, Offset(), 3),
    ("NOT COMPARABLE", "no number was published for this one", 10.0, {}, Tuned(), 3),
    ("NOT COMPARABLE", "random weights", 10.0, {}, RandomOffset(), 3),
]


def test_every_verdict_is_reached() -> None:
    assert {verdict for verdict, *_ in REACHED} == {*get_args(Verdict)}


@pytest.mark.parametrize(
    ("verdict", "why", "value", "changes", "model", "seeds"),
    REACHED,
    ids=[f"{verdict}: {why}"[:50] for verdict, why, *_ in REACHED],
)
def test_a_run_beside_a_user_s_published_file_has_this_verdict(
    verdict: str, why: str, value: float | None, changes: dict[str, Any], model: Any, seeds: int, folder: Path
) -> None:
    publish(folder, value, **changes)
    result = run(folder, f"sampling.samples_per_prompt={seeds}", model=model)
    score = result.scores.set_index("metric").loc["dc_offset"]
    assert score.verdict == verdict and why in score.verdict_reason and score.sets == seeds
    assert score.verdict_reason.partition("; not verified: ")[0] in score.note
    (row,) = json.loads((result.path / "table.json").read_text())["table"]
    shown = "" if math.isnan(score.published) else verdict
    assert row["dc_offset_verdict"] == table(result)["dc_offset_verdict"][0] == shown
    text = (result.path / "table.md").read_text()
    assert ("DC offset (%) verdict" in text) == (not math.isnan(score.published))
    again = evalkit.load(result.path)
    assert again.scores.equals(result.scores)


def test_a_folder_of_clips_that_a_run_made_is_undecided(folder: Path, tmp_path: Path) -> None:
    publish(folder, 10.0, sampling="{}")
    made = run(folder, "sampling.samples_per_prompt=3")
    for clip in made.clips.to_dict("records"):
        audio, rate = soundfile.read(clip["path"])
        number = "" if clip["sample"] == 1 else f"#{clip['sample']}"
        soundfile.write(tmp_path / f"{clip['id']}{number}.wav", audio / clip["gain"], rate, "FLOAT")
    there = run(folder, "sampling.samples_per_prompt=3", model=Folder(str(tmp_path), published="someone/offset"))
    score = there.scores.set_index("metric").loc["dc_offset"]
    assert score.value == pytest.approx(made.scores.set_index("metric").loc["dc_offset"].value)
    assert score.verdict == "UNDECIDED" and score.verdict_reason.endswith(f"is within ±0.500: {NOBODY_CHECKS}")


CHROMA = """
source: {{title: a paper, url: https://example.org, primary: true, read: the paper}}
protocol: musicgen
dataset: theirs
subset: all
n: 11
duration: 2.0
sampling: {{}}
metrics: [chroma]
tolerance: {{chroma: {{margin: 0.2, rounding: 0.005, because: made up}}}}
rows:
  - model: someone/model
    metrics: {{chroma: {value}}}
"""


@dataclass(frozen=True)
class Noise:
    """White noise, of which a checkpoint's numbers are said to be."""

    kind: ClassVar[str] = "white noise of a test"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    published: ClassVar[str] = "someone/model"
    checkpoint: ClassVar[Asset] = Pinned("noise", repo="someone/model")
    codec: ClassVar[None] = None

    def check(self, sampling: Sampling) -> None: ...

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        return ()

    def load(self, cache: Cache, engine: Engine) -> Generate:
        def clip(prompt: Prompt, sampling: Sampling) -> Audio:
            rng = np.random.default_rng(noise_seed(sampling.seed, prompt.id))
            return Audio(rng.normal(0, 0.1, (1, 64000)).astype(np.float32), 32000)

        return lambda prompts, sampling: [clip(prompt, sampling) for prompt in prompts]


def test_a_run_of_which_a_reference_is_missing_says_that_it_would_decide(tmp_path: Path) -> None:
    captions = {name: "a tune in " + name for name in "abcdefghijk"}
    (tmp_path / "references").mkdir()
    for number, name in enumerate(captions):
        noise = np.random.default_rng(number).normal(0, 0.1, 64000)
        soundfile.write(tmp_path / "references" / f"{name}.wav", noise, 32000)
    (tmp_path / "prompts.csv").write_text("id,text\n" + "".join(f"{i},{text}\n" for i, text in captions.items()))
    ids, pairs = prompt_digests(captions.items())
    published = tmp_path / "conf" / "published"
    (published / "datasets").mkdir(parents=True)
    subset = f"{{prompts: 11, ids: {ids}, captions: {pairs}}}"
    (published / "datasets" / "mine.yaml").write_text(f"dataset: theirs\nsubsets: {{all: {subset}}}\n")

    def score(value: float) -> Any:
        (published / "mine.yaml").write_text(CHROMA.format(value=value))
        prompts = ("prompts=table", f"prompts.path={tmp_path / 'prompts.csv'}", "prompts.dataset=theirs")
        result = evalkit.evaluate(
            *(*prompts, f"prompts.references={tmp_path / 'references'}", "sampling.duration=2", "metric=[chroma]"),
            *("sampling.samples_per_prompt=3", "engine.keep_going=true", "min_references=0.5"),
            *(f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"),
            models={"noise": Noise()},
            config_dir=str(tmp_path / "conf"),
            quiet=True,
        )
        return result.scores.iloc[0]

    value = round(score(0.5).value, 2)
    assert score(value).verdict == "REPRODUCED"
    (tmp_path / "references" / "k.wav").unlink()
    few = score(value)
    assert few.n == 10 and few.verdict == "UNDECIDED" and few.verdict_reason.endswith("1 more reference would decide")
    assert score(value - 0.5).verdict == "DIFFERS (higher)" and score(value + 0.4).verdict == "DIFFERS (lower)"
    (tmp_path / "references" / "j.wav").unlink()
    assert score(value).verdict == "NOT COMPARABLE" and score(value).verdict_reason == "n 9, published 11"
