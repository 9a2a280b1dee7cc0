"""Rows that are no models: what they are made of, and that they are scored as models are."""

from __future__ import annotations

import csv
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import soundfile

import evalkit
from evalkit import audio
from evalkit.calibration import Calibration, Material, Row
from evalkit.calibration.codec import Codec, ThroughCodec
from evalkit.calibration.halves import Halves
from evalkit.calibration.noise import Noise, WhiteNoise
from evalkit.calibration.recordings import Recordings
from evalkit.calibration.separated import Separated
from evalkit.calibration.separated_halves import SeparatedHalves
from evalkit.calibration.shuffled import Shuffled
from evalkit.calibration.silence import DigitalSilence, Silence
from evalkit.config import build, compose
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import condition
from evalkit.metrics.chroma import ChromaSimilarity
from evalkit.metrics.fad import FAD
from evalkit.metrics.kld import KLD
from evalkit.models.synth.synth import Synth
from evalkit.models.tiny import TinyStereo
from evalkit.plan import Plan, calibration_of
from evalkit.results.result import Result
from evalkit.results.scored import Scored
from evalkit.settings import Sampling, conf_dir
from evalkit.store.cache import Cache
from evalkit.store.digests import canonical, sha256_file
from evalkit.store.identity import identity
from evalkit.types import Clip, Features, Measured, Prompt
from tests import parity
from tests.engines import CPU, cpu
from tests.scoring.made import PROMPTS, Pairs, clips, measure, plan

RATE = 32000


def references(n: int) -> list[tuple[Prompt, Clip]]:
    return [(Prompt(f"p{i}", f"caption {i}"), Clip(f"p{i}", sha256=f"content {i}")) for i in range(n)]


def made(row: Calibration, recordings: list[tuple[Prompt, Clip]]) -> Row:
    return row.make(Material([p for p, _ in recordings], recordings, recordings, {}, 10.0, Cache("unused"), CPU))


@pytest.mark.parametrize("n", [2, 3, 8, 41])
def test_halves_share_no_clip_and_use_each_once(n: int) -> None:
    row = made(Halves(), references(n))
    assert row.references is not None
    size = n // 2
    assert len(row.prompts) == len(row.clips) == len(row.references) == size and not row.paired
    assert row.references is not None
    assert [p.id for p in row.prompts] == [c.id for c in row.clips] == [c.id for c in row.references]
    assert all(clip.sha256 == f"content {clip.id[1:]}" for clip in row.clips)
    assert len({clip.sha256 for clip in [*row.clips, *row.references]}) == 2 * size
    assert made(Halves(), references(n)[::-1]) == row  # the same whatever the order of prompts


def test_recordings_are_the_references_of_their_own_prompts() -> None:
    row = made(Recordings(), references(5))
    assert [p.id for p in row.prompts] == [f"p{i}" for i in range(5)] and row.paired
    assert row.clips == row.references == [clip for _, clip in references(5)]


@pytest.mark.parametrize("n", [2, 3, 8, 41])
def test_no_shuffled_reference_is_its_own_prompt_s(n: int) -> None:
    row = made(Shuffled(), references(n))
    assert row.paired and row.references is not None
    assert [c.id for c in row.clips] == [c.id for c in row.references] == [p.id for p in row.prompts]
    assert all(clip.sha256 != reference.sha256 for clip, reference in zip(row.clips, row.references, strict=True))
    for side in (row.clips, row.references):
        assert len({clip.sha256 for clip in side}) == n
    assert made(Shuffled(), references(n)[::-1]) == row


def of_tracks(*captions: int) -> list[tuple[Prompt, Clip]]:
    """Prompts of several tracks, which share the recording of their track."""
    return [
        (Prompt(f"{track}-{k}", "x", cluster=f"track {track}"), Clip(f"{track}-{k}", sha256=f"content {track}"))
        for track, number in enumerate(captions)
        for k in range(number)
    ]


def test_halves_share_no_track_and_a_shuffled_reference_is_no_caption_s_of_its_track() -> None:
    recordings = of_tracks(1, 3, 1, 5, 2, 1, 1, 2)
    halves = made(Halves(), recordings)
    assert halves.references is not None and len(halves.clips) == 4
    assert len({clip.sha256 for clip in [*halves.clips, *halves.references]}) == 8  # each track once
    several = [(prompt, dataclasses.replace(clip, sha256=clip.id)) for prompt, clip in recordings]  # of one artist, say
    halves = made(Halves(), several)
    assert halves.references is not None
    ours, theirs = ({clip.sha256[0] for clip in side} for side in (halves.clips, halves.references))
    assert not ours & theirs and len(halves.clips) == 8 == len({clip.sha256 for clip in halves.clips})
    shuffled = made(Shuffled(), recordings)
    assert shuffled.references is not None and len(shuffled.clips) == 16
    assert all(clip.sha256 != own.sha256 for clip, own in zip(shuffled.clips, shuffled.references, strict=True))
    with pytest.raises(EvalkitError, match="reference halves: all references belong to one cluster"):
        made(Halves(), of_tracks(4))
    for captions in ((4,), (2, 3), (1, 1, 4)):
        with pytest.raises(EvalkitError, match=r"shuffled references: \d of \d references belong to one cluster"):
            made(Shuffled(), of_tracks(*captions))
    made(Shuffled(), of_tracks(3, 2, 1))


def test_noise_and_silence() -> None:
    prompts, sampling = [Prompt("a", "x"), Prompt("b", "x")], Sampling(duration=2.0)
    first, second = WhiteNoise(-20.0).load(Cache("unused"), CPU)(prompts, sampling)
    (again,) = WhiteNoise(-20.0).load(Cache("unused"), cpu("float16"))(prompts[1:], sampling)
    np.testing.assert_array_equal(second.samples, again.samples)
    assert first.samples.shape == (2, 2 * RATE) and first.rate == RATE
    level = 10 * np.log10(np.square(first.samples, dtype=np.float64).mean(axis=1))
    np.testing.assert_allclose(level, -20, atol=0.05)
    together = np.corrcoef(np.concatenate([first.samples, second.samples]))
    np.testing.assert_allclose(together, np.eye(4), atol=0.02)
    np.testing.assert_array_equal(first.samples * 2**15, np.round(first.samples * 2**15))
    spectrum = np.abs(np.fft.rfft(first.samples[0].reshape(100, -1))) ** 2
    np.testing.assert_allclose(spectrum.mean(axis=0)[1:-1] / spectrum.mean(), 1, atol=0.5)  # white
    for clip in DigitalSilence().load(Cache("unused"), CPU)(prompts, sampling):
        assert clip.samples.shape == (2, 2 * RATE) and not clip.samples.any()


def test_mistakes_are_found_at_once() -> None:
    models = {"synth": Synth(), "other": Synth()}
    with pytest.raises(EvalkitError, match=r"'codec' needs a model with a codec, .*: synth, other have none"):
        Codec().check(models)
    Codec().check({**models, "tiny_stereo": TinyStereo()})
    with pytest.raises(EvalkitError, match="unknown calibration 'silences': did you mean 'silence'"):
        evalkit.evaluate("model=synth", "prompts=demo", "random_weights=0", "calibration=[silences]")
    with pytest.raises(EvalkitError, match="level=3: must be at most 0 dB"):
        Noise(level=3)


def test_two_rows_cannot_have_one_name() -> None:
    louder = "+calibration.louder={_target_:evalkit.calibration.noise.Noise,level:-6%s}"
    config = compose(["model=synth", "prompts=demo", "calibration=[noise]", louder % ",title:'loud noise'"])
    assert [row.title for row in calibration_of(config, {"synth": Synth()}).values()] == ["white noise", "loud noise"]
    with pytest.raises(EvalkitError, match=r"calibration\.louder: another row of the table is 'loud noise'"):
        calibration_of(config, {"loud noise": Synth()})
    config = compose(["model=synth", "prompts=demo", "calibration=[noise]", louder % ""])
    with pytest.raises(EvalkitError, match=r"calibration\.louder: another row of the table is 'white noise'"):
        calibration_of(config, {"synth": Synth()})


ROWS: list[Calibration] = [Halves(), Codec(), Shuffled(), Noise(), Silence()]
ALL = "calibration=[halves,codec,shuffled,noise,silence]"
NAMES = [row.title for row in ROWS]
BASE = ["prompts=demo", "prompts.first=7", "random_weights=0", "sampling.duration=2", "uncertainty.resamples=100"]
METRICS = "metric=[fad,chroma,stereo,silence]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calibration")


def run(folder: Path, *options: str) -> Result:
    return evalkit.evaluate(f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}", *BASE, *options)


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return run(folder, "model=tiny_stereo", METRICS, ALL)


def value(result: Result, row: str, metric: str) -> Any:
    scores = result.scores
    return scores[(scores.model == row) & (scores.metric == metric)].iloc[0]


def test_rows_come_after_the_models_with_their_n(result: Result) -> None:
    assert result.table.model.tolist() == ["tiny_stereo", *NAMES]
    assert result.table.calibration.tolist() == [False] + [True] * 5
    assert [name for name, info in result.rows.items() if info.calibration] == NAMES
    assert result.table.clips.tolist() == result.table.prompts.tolist() == [7, 3, 7, 7, 7, 7]
    assert result.table.fad_n.tolist() == [7, 3, 7, 7, 7, 7]
    assert result.clips.groupby("model").size().to_dict() == dict(
        zip(["tiny_stereo", *NAMES], [7, 3, 7, 7, 7, 7], strict=True)
    )
    assert (result.clips.status == "ok").all()
    intervals = result.scores[result.scores.metric == "fad"]
    assert intervals.low.notna().all() and intervals.high.notna().all()


def test_models_score_what_they_score_without_the_rows(result: Result, folder: Path) -> None:
    alone = run(folder, "model=tiny_stereo", METRICS)
    own = result.scores[result.scores.model == "tiny_stereo"]
    pd.testing.assert_frame_equal(own.drop(columns="note"), alone.scores.drop(columns="note"), check_exact=True)
    assert not any(info.calibration for info in alone.rows.values())


def test_a_second_run_computes_nothing(result: Result, folder: Path) -> None:
    again = run(folder, "model=tiny_stereo", METRICS, ALL)
    log = (again.path / "run.log").read_text()
    assert "generating" not in log and "features of" not in log
    assert again.scores.equals(result.scores)


def sounds(result: Result, row: str, column: str) -> dict[str, np.ndarray]:
    """What VGGish hears of the clips, or of the references, of a row."""
    encoder = build(result.config["metric"]["fad"]["encoder"])
    encode = encoder.load(Cache(result.config["cache_dir"]), "cpu")
    rows = result.clips[result.clips.model == row]
    clips = {}
    for id, path in zip(rows.id, rows[column], strict=True):
        read = audio.downmix(audio.read(Path(path)))
        clips[id] = encode([audio.resample(read, 16000).samples[0]])[0]
    return clips


def test_the_floor_is_the_distance_of_the_halves(result: Result) -> None:
    ours, theirs = (sounds(result, "reference halves", column) for column in ("path", "reference_path"))
    fad = FAD(build(result.config["metric"]["fad"]["encoder"]))
    expected = fad(*(Features(tuple(x), tuple(x.values())) for x in (ours, theirs)))
    floor = value(result, "reference halves", "fad")
    assert floor.value == pytest.approx(expected.value, rel=1e-3)  # their loudness is set on the way
    rows = result.clips[result.clips.model == "reference halves"]
    assert not set(rows.sha256) & set(rows.reference_sha256) and len(set(rows.reference_sha256)) == 3
    chroma = value(result, "reference halves", "chroma")
    assert np.isnan(chroma.value) and chroma.n == 0 and "reference of its own" in chroma.note
    assert value(result, "reference halves", "side_to_mid").n == 3


def test_shuffled_references_are_those_of_other_prompts(result: Result) -> None:
    rows = result.clips[result.clips.model == "shuffled references"]
    assert (rows.sha256 != rows.reference_sha256).all() and set(rows.sha256) == set(rows.reference_sha256)
    # the same set of clips, so nothing but their loudness is between the two Gaussians
    assert value(result, "shuffled references", "fad").value < 0.05 * value(result, "white noise", "fad").value
    assert value(result, "shuffled references", "chroma").value < 0.6
    assert value(result, "shuffled references", "chroma").n == 7


def test_the_codec_row_is_the_references_coded(result: Result, folder: Path) -> None:
    rows = result.clips[result.clips.model == "reference codec"]
    code = TinyStereo().codec(Cache(folder / "cache"), "cpu")
    for path, reference in zip(rows.path, rows.reference_path, strict=True):
        expected = code(audio.read(Path(reference))).samples
        found = audio.read(Path(path)).samples
        gain = np.abs(found).max() / np.abs(expected).max()  # clips beyond full scale are stored at half of it
        np.testing.assert_allclose(found, gain * expected, atol=2e-6)
    assert rows.channels.tolist() == [2] * 7


def test_noise_and_silence_score_as_such(result: Result) -> None:
    assert value(result, "white noise", "side_to_mid").value == pytest.approx(0, abs=0.1)
    assert value(result, "white noise", "mono_share").value == 0
    assert value(result, "digital silence", "silence_share").value == 1
    assert value(result, "digital silence", "silence_start").value == 0
    gap = value(result, "digital silence", "channel_correlation")
    assert np.isnan(gap.value) and gap.n == 0 and gap.note == "channel correlation: all clips are silent"
    assert value(result, "digital silence", "fad").value > value(result, "reference halves", "fad").value


def test_the_table_says_what_the_rows_are(result: Result) -> None:
    text = (result.path / "table.md").read_text()
    for row in ROWS:
        assert f"{row.title}: {row.remark({'synth': Synth(), 'tiny_stereo': TinyStereo()})}" in text
    assert "the references through the codec of tiny_stereo" in text
    assert "digital silence: 7 of 7" not in text  # it is no fault of a model
    assert result.table.note[1:].str.contains("published").sum() == 0
    chroma = result.scores[result.scores.metric == "chroma"]  # the one metric here that needs no weights
    assert set(chroma.model[chroma.random_weights]) == {"tiny_stereo", "reference codec"}


def test_references_that_cannot_be_used_are_in_no_row(tmp_path: Path) -> None:
    names = ["one", "two", "three", "four", "five", "six"]
    with (tmp_path / "prompts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *([name, f"music {name}"] for name in names)])
    (tmp_path / "references").mkdir()
    rng = np.random.default_rng(0)
    for name in names:
        samples = rng.normal(0, 0.1, (2 * RATE, 2)) * (name != "two")  # silent
        soundfile.write(tmp_path / "references" / f"{name}.wav", samples, RATE)
    (tmp_path / "references" / "three.wav").write_bytes(b"RIFF")
    (tmp_path / "references" / "four.wav").unlink()
    base = ["model=synth", "prompts=table", f"prompts.path={tmp_path / 'prompts.csv'}", "sampling.duration=2"]
    base += [f"prompts.references={tmp_path / 'references'}", f"cache_dir={tmp_path / 'cache'}", "metric=[silence]"]
    base += [f"output_dir={tmp_path / 'runs'}"]
    found = evalkit.evaluate(*base, "calibration=[shuffled,halves,noise]")
    # no metric of this run compares with references, so that three of six are none is no mistake
    assert found.table.model.tolist() == ["synth", "shuffled references", "reference halves", "white noise"]
    assert found.table.silence_share_n.tolist() == [6, 3, 1, 6]
    assert set(found.clips[found.clips.model == "shuffled references"].id) == {"one", "five", "six"}
    # a row has the references that the models have
    more = ["metric=[chroma]", "min_references=0.4", "calibration=[shuffled,noise,silence]"]
    paired = evalkit.evaluate(*base, *more)
    assert paired.table.chroma_n.tolist() == [3, 3, 3, 3]
    for name in ("one", "five"):
        (tmp_path / "references" / f"{name}.wav").unlink()
    with pytest.raises(EvalkitError, match="calibration: 1 of 6 references are usable, and at least 2 are needed"):
        evalkit.evaluate(*base, "calibration=[halves]")


def test_only_the_part_of_a_reference_that_counts_is_coded(tmp_path: Path) -> None:
    """Two parts of one file are two clips, in the cache too."""
    stereo = Synth().render(Prompt("a", "A slow piano in C major with a flute."), 0, 1.3)
    path = tmp_path / "a.wav"
    soundfile.write(path, stereo.samples.T, RATE, subtype="FLOAT")
    whole = Clip("a", path, sha256=sha256_file(path), frames=stereo.samples.shape[1], sample_rate=RATE, channels=2)
    part = Clip(**{**vars(whole), "start": 0.3, "seconds": 0.5})
    cache = parity.cache()
    made = {clip: ThroughCodec(TinyStereo()).load(cache, CPU)([clip])[0] for clip in (whole, part)}
    assert made[whole].samples.shape == stereo.samples.shape and made[part].samples.shape == (2, RATE // 2)
    expected = TinyStereo().codec(cache, "cpu")(condition(part, None, None).stored)
    np.testing.assert_array_equal(made[part].samples, expected.samples)
    one, other = (identity(ThroughCodec(TinyStereo(seed)), cache) for seed in (0, 1))
    assert canonical(one) != canonical(other)


def test_every_yaml_builds_its_row_as_it_is_without_one() -> None:
    names = [path.stem for path in (conf_dir() / "calibration").glob("*.yaml")]
    config = compose(["model=tiny_stereo", "prompts=demo", f"calibration=[{','.join(names)}]"])
    built: dict[str, Any] = dict(calibration_of(config, {"tiny_stereo": TinyStereo()}))
    assert built == {
        "halves": Halves(),
        "codec": Codec(),
        "shuffled": Shuffled(),
        "noise": Noise(),
        "silence": Silence(),
        "recordings": Recordings(),
        "separated": Separated(built["separated"].transform),
        "separated_halves": SeparatedHalves(built["separated_halves"].transform),
    }
    assert (
        built["separated"].transform
        == built["separated_halves"].transform
        == build(compose(["model=synth", "prompts=demo", "references=instrumental"]).references)
    )


OWN = """
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from evalkit.audio import Audio
from evalkit.calibration import Row


@dataclass(frozen=True)
class Tone:
    hz: float
    kind: ClassVar[str] = "tone_row"
    title: ClassVar[str] = "pure tone"
    needs_references: ClassVar[bool] = False

    def check(self, models):
        pass

    def remark(self, models):
        return f"a sine of {self.hz:g} Hz"

    def random(self, models):
        return False

    def make(self, material):
        return Row(material.prompts, material.generate(Sine(self.hz), material.prompts, self.title))


@dataclass(frozen=True)
class Sine:
    hz: float
    kind: ClassVar[str] = "sine"
    version: ClassVar[int] = 1

    def load(self, cache, engine):
        def generate(prompts, sampling):
            times = np.arange(round(sampling.duration * 32000)) / 32000
            sine = np.sin(2 * np.pi * self.hz * times).astype(np.float32)
            return [Audio(np.stack([sine, sine]) / 2, 32000) for _ in prompts]

        return generate


@dataclass(frozen=True)
class Incomplete:
    title: ClassVar[str] = "not all"
"""


def test_a_row_of_one_s_own_is_one_file_and_one_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_rows.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "tone.yaml").write_text("tone: {_target_: own_rows.Tone, hz: 440}\n")
    (tmp_path / "calibration" / "part.yaml").write_text("part: {_target_: own_rows.Incomplete}\n")
    base = ["model=synth", "prompts=demo", "prompts.first=2", "sampling.duration=1", "metric=[stereo]"]
    base += [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}", "allow_targets=[own_rows]"]
    with pytest.raises(EvalkitError, match="unknown calibration 'tne': did you mean 'tone'"):
        evalkit.evaluate(*base, "calibration=[tne]", config_dir=str(tmp_path))
    with pytest.raises(EvalkitError, match=r"calibration\.part: Incomplete does not say what .*: declare `kind`"):
        evalkit.evaluate(*base, "calibration=[part]", config_dir=str(tmp_path))
    result = evalkit.evaluate(
        *base, "calibration=[tone,noise]", "calibration.noise.level=-40", config_dir=str(tmp_path)
    )
    assert result.table.model.tolist() == ["synth", "pure tone", "white noise"]
    assert value(result, "pure tone", "mono_share").value == 1
    text = (result.path / "table.md").read_text()
    assert "pure tone: a sine of 440 Hz" in text and "white noise: independent in each channel, -40 dB" in text
    (path, *_) = result.clips[result.clips.model == "white noise"].path
    assert 20 * np.log10(audio.read(Path(path)).samples.std()) == pytest.approx(-40, abs=0.1)
    row = {"kind": "tone_row", "package": "own_rows", "version": 0, "hz": 440}
    definition = dict(result.rows["pure tone"].definition)
    assert len(definition.pop("source")) == 64 and definition == row


@dataclass(frozen=True)
class Sets(Pairs):
    """The seconds of all clips and of all references."""

    kind: ClassVar[str] = "sets"

    def __call__(self, generated: Features, reference: Features) -> Measured:
        seconds = sum(v.item() / RATE for v in [*generated.values, *reference.values])
        return Measured(seconds, n=len(generated.ids))


def scored(run: Plan, references: list[Clip], row: Row) -> list[Scored]:
    """The scores of one row, in the order of the metrics."""
    return list(measure(run, references, {}, others={"row": row}).scores.values())


def test_halves_are_compared_whole_as_sets_and_not_clip_by_clip(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class OneByOne(Pairs):
        kind: ClassVar[str] = "one by one"
        clip_by_clip: ClassVar[bool] = True

    recordings = clips(tmp_path / "r", 2, 3, 4)
    row = made(Halves(), list(zip(PROMPTS.prompts, recordings, strict=True)))
    assert row.references is not None and row.clips[0].seconds != row.references[0].seconds
    the_plan = plan(tmp_path, sets=Sets(), pairs=OneByOne())
    sets, pairs = scored(the_plan, recordings, row)
    assert (sets.value, sets.n) == ((row.clips[0].seconds or 0) + (row.references[0].seconds or 0), 1)
    assert np.isnan(pairs.value) and pairs.n == 0
    assert ChromaSimilarity.clip_by_clip and KLD.clip_by_clip and not FAD.clip_by_clip
    # elsewhere a pair is cut to the length that both have
    whole = Row(PROMPTS.prompts, recordings, clips(tmp_path / "s", 3, 3, 3))
    sets, _ = scored(the_plan, recordings, whole)
    assert (sets.value, sets.n) == (2 * (2 + 3 + 3), 3)
