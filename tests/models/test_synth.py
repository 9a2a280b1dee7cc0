"""The synthesizer: it follows captions, plays the same music for every seed, and its knobs do what they say."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from evalkit.errors import EvalkitError
from evalkit.models.synth.composer import DEFAULTS, INSTRUMENTS, Part, compose, read_caption
from evalkit.models.synth.instruments import RATE, VOICES, tone
from evalkit.models.synth.synth import OTHER_CAPTIONS, Synth, delayed, detuned, other_caption, turned_down
from evalkit.settings import Sampling
from evalkit.store.cache import Cache
from evalkit.store.seeds import keyed
from evalkit.types import Prompt
from tests.engines import CPU
from tests.prompts.made import COLUMNS

ROOT = Path(__file__).parents[2]

with (ROOT / "evalkit/data/demo.csv").open(encoding="utf-8", newline="") as _file:
    DEMO = [Prompt(row["ytid"], row["caption"]) for row in csv.DictReader(_file)]
IDS = [p.id for p in DEMO]


def generate(prompts: list[Prompt], seconds: float = 2.0, sampling_seed: int = 0, **knobs: object) -> list[np.ndarray]:
    model = Synth(**knobs)
    sampling = Sampling(duration=seconds, seed=sampling_seed)
    model.check(sampling)
    outputs = model.load(Cache("unused"), CPU)(prompts, sampling)
    assert all(audio.rate == 32000 for audio in outputs)
    return [audio.samples for audio in outputs]


def one(caption: str, seconds: float = 2.0, **knobs: object) -> np.ndarray:
    return generate([Prompt("x", caption)], seconds, **knobs)[0]


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def dominant_classes(samples: np.ndarray) -> np.ndarray:
    """The strongest pitch class in each half second, from plain FFTs of the downmix."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.mean(0), 16384)[::4096]
    power = np.abs(np.fft.rfft(frames * np.hanning(16384))) ** 2
    hertz = np.fft.rfftfreq(16384, 1 / RATE)
    usable = (hertz > 80) & (hertz < 2000)
    classes = np.round(12 * np.log2(hertz[usable] / 440)).astype(int) % 12
    return np.stack([power[:, usable][:, classes == c].sum(1) for c in range(12)]).argmax(0)


def agreement(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    same = [dominant_classes(a) == dominant_classes(b) for a, b in zip(first, second, strict=True)]
    return float(np.concatenate(same).mean())


# the demo prompts


def test_demo_has_the_columns_of_musiccaps() -> None:
    with (ROOT / "evalkit/data/demo.csv").open(encoding="utf-8") as file:
        assert next(csv.reader(file)) == COLUMNS


def test_demo_prompts_differ_in_what_they_ask_for() -> None:
    assert len(DEMO) == len(set(IDS)) == len({p.text for p in DEMO}) == 12
    assert {len(i) for i in IDS} == {11}
    pieces = [read_caption(p.text) for p in DEMO]
    assert len({p.instruments for p in pieces}) == 12
    assert len({(p.tonic, p.minor) for p in pieces}) >= 11
    assert set().union(*(p.instruments for p in pieces)) == set(INSTRUMENTS)
    assert min(p.tempo for p in pieces) < 60 and max(p.tempo for p in pieces) > 150


@pytest.mark.parametrize(
    ("prompt", "instruments", "tonic", "minor", "tempo"),
    [
        ("demo-piano1", {"piano"}, 9, True, (60, 75)),
        ("demo-folkg1", {"acoustic guitar", "flute", "percussion"}, 7, False, (90, 105)),
        ("demo-house1", {"drums", "bass", "synth lead"}, 5, True, (126, 126)),
        ("demo-strng1", {"strings", "brass"}, 2, True, (60, 75)),
        ("demo-bells1", {"bells", "pad"}, 3, False, (68, 68)),
        ("demo-rock01", {"electric guitar", "bass", "drums"}, 4, True, (135, 152)),
        ("demo-organ1", {"organ", "voice"}, 0, False, (60, 75)),
        ("demo-bossa1", {"electric piano", "bass", "percussion"}, 10, False, (112, 112)),
        ("demo-brass1", {"brass", "electric piano", "bass", "drums"}, 0, True, (105, 105)),
        ("demo-ambnt1", {"pad", "bells"}, 6, False, (50, 58)),
        ("demo-tribl1", {"percussion", "flute", "drums"}, 11, True, (140, 140)),
        ("demo-chip01", {"synth lead", "electric piano", "drums"}, 2, False, (160, 160)),
    ],
)
def test_demo_captions_are_understood(
    prompt: str, instruments: set[str], tonic: int, minor: bool, tempo: tuple[float, float]
) -> None:
    piece = read_caption(DEMO[IDS.index(prompt)].text)
    assert set(piece.instruments) == instruments
    assert (piece.tonic, piece.minor) == (tonic, minor)
    assert tempo[0] <= piece.tempo <= tempo[1]


# reading captions


@pytest.mark.parametrize(
    ("caption", "instruments"),
    [
        ("someone is playing a high pitched melody on a steel drum", ("bells",)),
        ("a bass drum, then an electric guitar", ("drums", "electric guitar")),
        ("a synth bass under a synth pad", ("bass", "pad")),
        ("an organic song of a bassoon", None),
        ("a piano without any bass or drums", ("piano",)),
        ("there are no voices, only a flute", ("flute",)),
        ("a twelve steel-string guitar", ("acoustic guitar",)),
        ("A FLUTE AND A CELLO", ("flute", "strings")),
    ],
)
def test_instruments(caption: str, instruments: tuple[str, ...] | None) -> None:
    found = read_caption(caption).instruments
    if instruments is None:  # none is named
        assert found in DEFAULTS
    else:
        assert found == instruments


def test_tempo() -> None:
    assert read_caption("a slow song at 93 bpm").tempo == 93
    assert read_caption("174 BPM").tempo == 174
    assert read_caption("100 beats per minute").tempo == 100
    assert read_caption("999 bpm").tempo == 220
    slow, medium, fast = (read_caption(f"a song with a {w} tempo").tempo for w in ("slow", "medium", "fast"))
    assert slow < 0.8 * medium < 0.8 * 0.8 * fast
    assert read_caption("a waltz").beats == 3


@pytest.mark.parametrize(
    ("caption", "tonic", "minor"),
    [
        ("in A minor", 9, True),
        ("a song in the key of B flat major", 10, False),
        ("a song (C# minor)", 1, True),
        ("It is in F-sharp major.", 6, False),
        ("in E♭ maj", 3, False),
        ("Db major", 1, False),
    ],
)
def test_key(caption: str, tonic: int, minor: bool) -> None:
    piece = read_caption(caption)
    assert (piece.tonic, piece.minor) == (tonic, minor)


def test_mode_follows_mood_and_a_minor_key_is_not_a_key() -> None:
    assert all(read_caption(f"a sad song number {i}").minor for i in range(20))
    assert not any(read_caption(f"a happy song number {i}").minor for i in range(20))
    assert all(read_caption(f"A minor chord is played in song {i}").minor for i in range(20))
    assert len({read_caption(f"A minor chord is played in song {i}").tonic for i in range(40)}) > 5
    assert len({read_caption(f"a song {i}").tonic for i in range(60)}) == 12


def test_mood_changes_level_and_brightness() -> None:
    loud, soft = one("a loud powerful piano in C major, 100 bpm"), one("a soft gentle piano in C major, 100 bpm")
    assert rms(loud) > 1.5 * rms(soft)
    voice = VOICES["strings"]
    dull, bright = (tone(voice, 220, 1.0, b, keyed("x")) for b in (0.1, 0.9))
    assert centroid(bright) > 1.2 * centroid(dull)


def centroid(wave: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(wave)) ** 2
    return float((power * np.fft.rfftfreq(len(wave), 1 / RATE)).sum() / power.sum())


@pytest.mark.parametrize("name", sorted(VOICES))
def test_every_voice_plays_the_pitch_that_is_asked_for(name: str) -> None:
    wave = tone(VOICES[name], 440.0, 1.0, 0.5, keyed("x"))[:RATE]
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 4 * RATE))
    hertz = np.fft.rfftfreq(4 * RATE, 1 / RATE)
    near = (hertz > 350) & (hertz < 550)
    assert abs(hertz[near][power[near].argmax()] - 440) < 4
    assert power[hertz < 400].max() < 0.1 * power[near].max()


def test_notes_are_in_the_scale_and_the_short_piece_begins_the_long_one() -> None:
    for prompt in DEMO:
        piece = read_caption(prompt.text)
        scale = {(piece.tonic + s) % 12 for s in ((0, 2, 3, 5, 7, 8, 10) if piece.minor else (0, 2, 4, 5, 7, 9, 11))}
        long, short = compose(piece, prompt.text, 20.0), compose(piece, prompt.text, 3.0)
        assert {p.instrument for p in long} == set(piece.instruments)
        for a, b in zip(long, short, strict=True):
            assert len(b.notes) and (b.notes[:, 0] < 3.0).all()
            assert np.array_equal(a.notes[: len(b.notes)], b.notes)
            if a.role != "drums":
                assert {int(pitch) % 12 for pitch in a.notes[:, 2]} <= scale
                assert ((a.notes[:, 2] > 25) & (a.notes[:, 2] < 110)).all()


# clips


def test_every_demo_clip_is_sound_and_stereo() -> None:
    for prompt, samples in zip(DEMO, generate(DEMO, 4.0), strict=True):
        assert samples.shape == (2, 4 * RATE) and samples.dtype == np.float32
        assert np.abs(samples).max() < 1
        assert 0.03 < rms(samples) < 0.3, prompt.id
        assert np.corrcoef(samples)[0, 1] < 0.85, prompt.id
        assert rms(samples[0] - samples[1]) > 0.4 * rms(samples), prompt.id
        sounding = np.sqrt(np.square(samples.mean(0).reshape(-1, RATE // 4)).mean(1)) > 0.003
        assert sounding.mean() > 0.8, prompt.id


def test_a_clip_depends_on_its_own_key_only() -> None:
    together = generate(DEMO[:5], 1.0)
    backwards = generate(DEMO[:5][::-1], 1.0)[::-1]
    for prompt, a, b in zip(DEMO[:5], together, backwards, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, generate([prompt], 1.0)[0])


def test_seeds_add_up_and_ids_count() -> None:
    prompt = DEMO[2]
    (base,) = generate([prompt], 1.0, sampling_seed=3)
    assert np.array_equal(base, generate([prompt], 1.0, sampling_seed=1, seed=2)[0])
    assert not np.array_equal(base, generate([prompt], 1.0, sampling_seed=4)[0])
    assert not np.array_equal(base, generate([Prompt("other", prompt.text)], 1.0, sampling_seed=3)[0])


def test_another_seed_plays_the_same_music() -> None:
    first, second = generate(DEMO, 4.0), generate(DEMO, 4.0, seed=1)
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert agreement(first, second) > 0.85
    levels = [abs(math.log(rms(a) / rms(b))) for a, b in zip(first, second, strict=True)]
    assert max(levels) < 0.1


@pytest.mark.parametrize("seconds", [0.1, 0.37, 1.00001, 30.0])
def test_lengths(seconds: float) -> None:
    samples = one("a fast rock song with drums, bass and electric guitar", seconds)
    assert samples.shape == (2, round(seconds * RATE))
    assert np.isfinite(samples).all() and rms(samples) > 0.02


@pytest.mark.parametrize(
    "caption",
    [
        "",
        " ",
        "🎹🎸 \U0001f941",
        "\"quoted\" 'it's' \\ \n\t\0",
        "<b>bold</b> ${x} %s {}",
        "\ud800",
        "钢琴",
        "a" * 10_000,
    ],
    ids=["empty", "space", "emoji", "quotes", "markup", "surrogate", "chinese", "one long word"],
)
def test_strange_captions_are_played(caption: str) -> None:
    samples = one(caption, 0.5, wrong_caption=False)
    assert np.isfinite(samples).all() and rms(samples) > 0.01
    assert rms(one(caption, 0.5, wrong_caption=True)) > 0.01


def test_a_long_caption_takes_no_longer() -> None:
    caption = " ".join(p.text for p in DEMO) * 4
    caption = (caption * (10_000 // len(caption) + 1))[:10_000]
    start = time.process_time()
    samples = one(caption, 10.0)
    assert time.process_time() - start < 3  # some 0.3 s where nobody else is at work
    assert np.abs(samples).max() < 1


# knobs


def test_noise_has_the_level_that_is_asked_for() -> None:
    clean = one(DEMO[0].text, 3.0)
    for level in (0.1, 0.5):
        difference = one(DEMO[0].text, 3.0, noise=level) - clean
        assert rms(difference) == pytest.approx(level * rms(clean), rel=0.02)
        assert abs(np.corrcoef(difference)[0, 1]) < 0.02


def test_noise_stays_below_full_scale() -> None:
    assert np.abs(one("a loud, powerful, intense drum solo", 1.0, noise=20.0)).max() < 1


def test_low_pass_leaves_nothing_above_its_cutoff() -> None:
    clean, filtered = one(DEMO[5].text), one(DEMO[5].text, low_pass=800.0)
    hertz, before = scipy.signal.welch(clean, RATE, nperseg=4096)
    _, after = scipy.signal.welch(filtered, RATE, nperseg=4096)
    above, below = hertz > 1600, (hertz > 60) & (hertz < 500)
    assert after[:, above].sum() < 1e-4 * before[:, above].sum()
    assert after[:, below].sum() == pytest.approx(before[:, below].sum(), rel=0.1)


def test_detune_moves_each_note_by_itself_and_spares_drums() -> None:
    notes = np.column_stack([np.arange(500.0), np.ones(500), np.full(500, 60.0), np.ones(500)])
    cents = 100 * (detuned(Part("piano", "melody", notes), 70.0, keyed("x")).notes - notes)
    assert cents[:, 2].std() == pytest.approx(70, rel=0.1) and abs(cents[:, 2].mean()) < 10
    assert not cents[:, [0, 1, 3]].any()
    drums = Part("drums", "drums", notes)
    assert detuned(drums, 70.0, keyed("x")) is drums


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_silence_is_digital_and_at_the_end(share: float) -> None:
    clean, cut = one(DEMO[2].text), one(DEMO[2].text, silence=share)
    kept = clean.shape[1] - round(share * clean.shape[1])
    assert not cut[:, kept:].any()
    assert np.array_equal(cut[:, :kept], clean[:, :kept])


def test_mono_loses_the_right_channel() -> None:
    for clean, mono in zip(generate(DEMO, 1.0), generate(DEMO, 1.0, mono=True), strict=True):
        assert np.array_equal(mono[0], mono[1])
        assert np.array_equal(mono[0], clean[0])
        assert rms(mono.mean(0) - clean.mean(0)) > 0.2 * rms(clean)


def test_another_caption_is_unlike_the_own_one() -> None:
    every = "a piece for " + ", ".join(INSTRUMENTS) + " at {} bpm in {} minor"
    captions = [p.text for p in DEMO] + list(OTHER_CAPTIONS) + [f"a song {i}" for i in range(50)]
    captions += [every.format(bpm, key) for bpm in range(40, 221, 12) for key in "BCDEFG"]
    for caption in captions:
        own, other = read_caption(caption), read_caption(other_caption(caption))
        assert set(own.instruments) != set(other.instruments)
        assert own.tonic != other.tonic
        assert max(own.tempo / other.tempo, other.tempo / own.tempo) > 1.2
    assert len({other_caption(c) for c in captions}) == len(OTHER_CAPTIONS)


def test_wrong_caption_plays_the_other_caption() -> None:
    own, wrong = one(DEMO[0].text, 1.0), one(DEMO[0].text, 1.0, wrong_caption=True)
    assert np.array_equal(wrong, one(other_caption(DEMO[0].text), 1.0))
    assert not np.array_equal(wrong, own)


def test_detuned_and_wrong_music_has_other_pitches() -> None:
    first = generate(DEMO, 3.0)
    again = agreement(first, generate(DEMO, 3.0, seed=1))
    for knobs in ({"detune": 80.0}, {"wrong_caption": True}):
        assert agreement(first, generate(DEMO, 3.0, seed=1, **knobs)) < again - 0.25


def test_timing_moves_each_onset_by_itself_and_nothing_else() -> None:
    notes = np.column_stack([10 + np.arange(500.0), np.ones(500), np.full(500, 60.0), np.ones(500)])
    late = delayed(Part("piano", "melody", notes), 100.0, keyed("x")).notes
    assert (late[:, 0] - notes[:, 0]).std() == pytest.approx(0.1, rel=0.1)
    assert np.array_equal(late[:, 1:], notes[:, 1:])
    hasty = delayed(Part("piano", "melody", notes - (10, 0, 0, 0)), 4000.0, keyed("y")).notes[:, 0]
    assert hasty.min() == 0 and (np.diff(hasty) >= 0).all()


def test_drums_are_turned_down_and_others_stay_as_they_are() -> None:
    notes = np.ones((3, 4))
    assert turned_down(Part("drums", "drums", notes), 20.0).notes.tolist() == [[1, 1, 1, 0.1]] * 3
    rock, alone = "drums and a bass in C major at 120 bpm", "a drum solo"
    high = scipy.signal.butter(8, 6000, "high", fs=RATE, output="sos")  # where only drums are
    levels = [rms(scipy.signal.sosfilt(high, one(rock, drums=decibels))) for decibels in (0.0, 6.0, 60.0)]
    assert levels[0] > levels[1] > 20 * levels[2]
    np.testing.assert_allclose(one(alone, drums=60.0), one(alone), atol=1e-4)


def test_a_loop_repeats_the_beginning() -> None:
    clean, looped = one(DEMO[2].text, 2.0), one(DEMO[2].text, 2.0, loop=0.5)
    first, *rest = np.split(looped, 4, axis=1)
    assert all(np.array_equal(first, part) for part in rest)
    faded = round(0.005 * RATE)
    assert np.array_equal(first[:, :-faded], clean[:, : RATE // 2 - faded]) and not first[:, -1].any()
    assert np.array_equal(one(DEMO[2].text, 1.0, loop=9.0), one(DEMO[2].text, 1.0))
    assert one(DEMO[2].text, 1.0, loop=0.3).shape == (2, RATE)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_narrowing_takes_of_the_side_alone(share: float) -> None:
    clean, narrow = one(DEMO[2].text, 1.0), one(DEMO[2].text, 1.0, narrow=share)
    np.testing.assert_allclose(narrow.mean(0), clean.mean(0), atol=1e-6)
    np.testing.assert_allclose(narrow[0] - narrow[1], (1 - share) * (clean[0] - clean[1]), atol=1e-6)


def test_overdrive_clips_at_full_scale() -> None:
    clean = one(DEMO[5].text)
    shares = []
    for decibels in (3.0, 12.0):
        driven = one(DEMO[5].text, overdrive=decibels)
        louder = clean * 10 ** (decibels / 20) / np.abs(clean).max()
        np.testing.assert_allclose(driven, np.clip(louder, -1, 1), atol=1e-5)
        shares.append(float((np.abs(driven) == 1).mean()))
    assert 0 < shares[0] < shares[1]


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        ({"noise": -0.1}, "noise"),
        ({"noise": math.nan}, "noise"),
        ({"noise": "loud"}, "noise"),
        ({"low_pass": 0.0}, "low_pass"),
        ({"low_pass": 16000.0}, "low_pass"),
        ({"detune": -5.0}, "detune"),
        ({"silence": 1.5}, "silence"),
        ({"mono": "left"}, "mono"),
        ({"wrong_caption": 1}, "wrong_caption"),
        ({"seed": 1.5}, "seed"),
        ({"timing": -1.0}, "timing"),
        ({"drums": math.inf}, "drums"),
        ({"loop": 0.0}, "loop"),
        ({"narrow": 1.1}, "narrow"),
        ({"overdrive": -3.0}, "overdrive"),
    ],
)
def test_bad_knobs_are_refused_in_one_line(knobs: dict[str, object], named: str) -> None:
    with pytest.raises(EvalkitError, match=rf"^synth: {named}=.*: must be [^\n]+$"):
        Synth(**knobs).check(Sampling())


def test_a_duration_below_one_sample_is_refused() -> None:
    with pytest.raises(EvalkitError, match="shorter than one sample"):
        Synth().check(Sampling(duration=1e-6))


def test_the_yaml_builds_the_defaults() -> None:
    from omegaconf import OmegaConf

    from evalkit.config import build

    node = OmegaConf.load(ROOT / "conf/model/synth.yaml")
    assert list(node) == ["synth"]
    assert build(node.synth) == Synth()
