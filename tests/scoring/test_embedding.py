"""Which clips and which parts of them a metric sees."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import soundfile

from evalkit.calibration import Row
from evalkit.errors import EvalkitError
from evalkit.scoring.embedding import common_length, embed, one_per_prompt
from evalkit.store.digests import sha256_file
from evalkit.types import Clip
from tests.engines import cpu
from tests.scoring.made import PROMPTS, RATE, Length, Pairs, Words, clips, measure, plan, write


def test_pairs_are_cut_alike_and_captions_hear_the_whole(tmp_path: Path) -> None:
    generated, references = clips(tmp_path / "g", 3, 3, 2), clips(tmp_path / "r", 3, 2, 3)
    measured = measure(plan(tmp_path, pairs=Pairs(), words=Words()), references, {"m": generated})
    pairs, words = measured.scores.values()
    assert (pairs.value, pairs.n) == (7, 3)
    assert (words.value, words.n) == (8, 3)
    assert measured.clips.pairs.tolist() == [3, 2, 2]
    assert measured.clips.words.tolist() == measured.clips.seconds.tolist() == [3, 3, 2]
    assert measured.clips.compared_length.tolist() == [3, 2, 2]


def test_each_side_is_encoded_as_it_is_compared(tmp_path: Path) -> None:
    run = plan(tmp_path, pairs=Pairs(), words=Words())
    generated, references = clips(tmp_path / "g", 3, 3, 2), clips(tmp_path / "r", 3, 2, 3)
    (row,) = embed(run, PROMPTS.prompts, references, {"m": Row(PROMPTS.prompts, generated)}, {})
    audio, text = run.extractor().key(Length()), run.extractor().key(Length("text"))
    (sides,) = row.sides
    seconds = {side: [v.item() / RATE for v in sides[audio, side].values] for side in ("clips", "cut clips")}
    assert seconds == {"clips": [3, 3, 2], "cut clips": [3, 2, 2]}
    assert [v.item() / RATE for v in sides[audio, "references"].values] == [3, 2, 2]
    assert [v.item() for v in sides[text, "captions"].values] == [len("caption a")] * 3
    assert len(sides) == 4
    assert row.pairs((audio, "clips"), (text, "captions")) == [(sides[audio, "clips"], sides[text, "captions"])]
    assert row.pairs((audio, "clips"), None) == [(sides[audio, "clips"], None)]


def test_a_silent_beginning_is_compared_as_it_is(tmp_path: Path) -> None:
    references = clips(tmp_path / "r", 3, 3, 3)
    path = references[0].path
    assert path is not None
    samples, _ = soundfile.read(path)
    samples[: 2 * RATE] = 0
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    references[0] = dataclasses.replace(references[0], sha256=sha256_file(path))
    measured = measure(plan(tmp_path, pairs=Pairs()), references, {"m": clips(tmp_path / "g", 2, 3, 3)})
    assert measured.scores["m", "pairs"].n == 3 and measured.references[0].ok


def test_captions_do_not_need_references(tmp_path: Path) -> None:
    absent = [Clip(i, status="missing") for i in "abc"]
    measured = measure(plan(tmp_path, words=Words()), absent, {"m": clips(tmp_path / "g", 3, 3, 2)})
    assert measured.scores["m", "words"].value == 8


def test_a_bad_reference_is_bad_for_every_model_and_no_other_metric(tmp_path: Path) -> None:
    references = clips(tmp_path / "r", 3, 3, 3)
    references[1] = write(tmp_path / "r" / "b.wav", 3, level=0.0)
    broken = references[2].path
    assert broken is not None
    broken.write_bytes(broken.read_bytes()[:3000])
    run = plan(tmp_path, pairs=Pairs(), words=Words())
    with pytest.raises(EvalkitError, match="only 1 of 3 are usable"):
        measure(run, references, {"m": clips(tmp_path / "g", 3, 3, 3)})
    run = dataclasses.replace(run, min_references=0.3)
    generated = {"m": clips(tmp_path / "g", 3, 3, 3), "n": clips(tmp_path / "h", 2, 2, 2)}
    measured = measure(run, references, generated)
    assert [c.status for c in measured.references] == ["ok", "silent", "unreadable"]
    assert [(*key, s.n, s.value) for key, s in measured.scores.items()] == [
        ("m", "pairs", 1, 3), ("m", "words", 3, 9), ("n", "pairs", 1, 2), ("n", "words", 3, 6),
    ]  # fmt: skip
    assert measured.clips.reference_status.tolist() == ["ok", "silent", "unreadable"] * 2


def test_an_unreadable_clip_fails_the_run_unless_allowed(tmp_path: Path) -> None:
    generated = clips(tmp_path / "g", 3, 3, 3)
    path = generated[0].path
    assert path is not None
    path.write_bytes(b"RIFF")
    run = plan(tmp_path, words=Words())
    with pytest.raises(EvalkitError, match=r"m: 1 of 3 clips are not usable \(a: "):
        measure(run, generated, {"m": generated})
    measured = measure(dataclasses.replace(run, engine=cpu(keep_going=True)), generated, {"m": generated})
    assert measured.scores["m", "words"].n == 2
    assert measured.clips.status.tolist() == ["unreadable", "ok", "ok"]
    assert [clip.status for clip in measured.generated["m"]] == ["unreadable", "ok", "ok"]


def test_common_length_leaves_unusable_clips_alone() -> None:
    one = Clip("a", frames=3 * RATE, sample_rate=RATE, seconds=3.0)
    bad = Clip("a", status="missing")
    assert common_length([one], [bad], RATE) == ([one], [bad])
    longer = dataclasses.replace(one, frames=6 * RATE, seconds=None)
    assert common_length([one], [longer], RATE)[1][0].seconds == 3.0


def test_further_clips_of_a_prompt_are_a_set_of_their_own() -> None:
    names = ["a", "b", "c", "a#2", "b#2", "c#2"]
    sets = one_per_prompt(Row(PROMPTS.prompts, [Clip(name, sha256=name) for name in names]))
    assert [[clip.id for clip in one] for one in sets] == [["a", "b", "c"]] * 2
    assert [clip.sha256 for one in sets for clip in one] == names
