"""What is said before a reproduction starts: what is missing, and which verdicts are out of reach."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit.errors import EvalkitError
from evalkit.models.musicgen import MusicGen
from evalkit.prompts.selection import sampled
from evalkit.prompts.synthetic import Synthetic
from evalkit.reproducing.composing import Reproduction, composed
from evalkit.reproducing.outlook import FETCH, Outlook, outlook
from evalkit.reproducing.timing import stages
from evalkit.store.cache import Cache
from evalkit.types import Clip

from .published import COUNT, write

Made = Callable[..., Reproduction]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Compose a reproduction of the made-up checkpoint."""
    folder = tmp_path_factory.mktemp("theirs")
    conf = write(folder / "conf", folder / "cache")

    def made(*options: str, model: str = "their_music") -> Reproduction:
        return composed(
            model, [f"cache_dir={folder / 'cache'}", f"prompts.count={COUNT}", *options], config_dir=str(conf)
        )

    return made


def said(ahead: Outlook) -> dict[str, str]:
    """The lines by what they are about; those of a list are joined."""
    found: dict[str, str] = {}
    last = ""
    for label, text in ahead.lines():
        last = label or last
        found[last] = f"{found[last]} {text}" if last in found else text
    return found


def with_references(ahead: Outlook, usable: int, total: int = COUNT) -> Outlook:
    """The same with some references, of which few can be used."""
    clips = [Clip(f"p{i}", status="ok" if i < usable else "missing", reason="not there") for i in range(total)]
    return dataclasses.replace(ahead, references=clips)


def test_everything_that_is_missing_is_said_at_once_with_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    ahead = outlook(composed("musicgen_small", [f"cache_dir={tmp_path}"]))
    lines = said(ahead)
    names = (
        "MusicCaps captions",
        "MusicGen small",
        "VGGish weights",
        "PaSST weights",
        "CLAP weights",
        "RoBERTa tokenizer",
    )
    assert all(name in lines["missing"] for name in names) and lines["missing"].startswith(f"{len(names)} files:")
    assert "MusicGen small (2,360 MB), or set model.musicgen_small.checkpoint.path" in lines["missing"]
    assert lines[FETCH].startswith(
        "evalkit fetch model=musicgen_small prompts=musiccaps protocol=musicgen 'metric=[fad"
    )
    assert "sampling" not in lines[FETCH] and "set prompts.references=FOLDER" in lines["references"]
    with pytest.raises(EvalkitError, match=r"6 files are missing, and prompts\.references is not set") as error:
        ahead.require()
    assert "\n" not in str(error.value)


def test_what_is_published_and_what_is_not_measured_is_said(theirs: Made) -> None:
    lines = said(outlook(theirs("random_weights=0")))
    assert lines["published"] == (
        "Chroma cosine similarity 0.50; no value for Collapsed to silence; not computed by evalkit: fd_openl3"
    )
    assert lines["prompts"] == "synthetic, all: 40; 3 seeds, 120 clips"
    assert lines["sampling"].startswith("top_k 100, top_p 0, temperature 1, guidance_scale 2, seed 0; 1.5 s")


@pytest.mark.parametrize(
    ("usable", "text"),
    [
        (40, "40 of 40 can be used"),
        (39, "39 of 40 can be used: REPRODUCED is out of reach with 39 of 40 references"),
        (36, "36 of 40 can be used: REPRODUCED is out of reach with 36 of 40 references"),
        (35, "35 of 40 can be used: NOT COMPARABLE with fewer than 90% of the 40 published"),
        (0, "0 of 40 can be used: not there"),
    ],
)
def test_the_coverage_of_references_says_what_verdict_it_leaves(theirs: Made, usable: int, text: str) -> None:
    ahead = with_references(outlook(theirs()), usable)
    assert said(ahead)["references"] == text
    if usable >= 36:
        ahead.require()
    else:
        with pytest.raises(EvalkitError, match="reference"):
            ahead.require()


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("sampling.top_k=50", "top_k 50, published 100"),
        ("sampling.duration=2", "duration 2, published 1.5"),
        ("prompts.first=20", "20 prompts (subset first 20), published 40 (the full synthetic)"),
        ("protocol=fadtk", "protocol fadtk (extended), published musicgen"),
    ],
)
def test_an_option_that_changes_what_was_published_is_said_before_hours_of_work(
    theirs: Made, option: str, text: str
) -> None:
    before, after = (set(outlook(theirs(*options)).obstacles()) for options in ((), (option,)))
    assert after - before == {text}
    assert text in said(outlook(theirs(option)))["verdict"]


def test_random_weights_no_tolerance_and_no_value_are_said(theirs: Made) -> None:
    ahead = outlook(theirs())
    (model,) = ahead.plan.models.values()
    assert isinstance(model, MusicGen)
    assert set(ahead.obstacles()) == {
        "random weights: their_music",
        f"checkpoint '{model.checkpoint.path}', published their/music",  # as of a fine-tune that lies here
        "its source is given no tolerance by which to judge a difference",
        "references rendered by Synth, not recordings",
    }
    without = set(outlook(theirs(model="their_stereo")).obstacles())
    assert without == {"no value was published for this checkpoint and these metrics"}


def test_what_random_weights_are_made_by_is_no_reason_of_its_own(tmp_path: Path) -> None:
    conf = write(tmp_path / "conf", tmp_path / "cache")
    options = [f"cache_dir={tmp_path / 'cache'}", f"prompts.count={COUNT}", "model.tiny_stereo.published=their/music"]
    found = list(outlook(composed("tiny_stereo", options, config_dir=str(conf))).obstacles())
    assert "random weights: tiny_stereo" in found and not any("seed" in text for text in found)


def test_files_that_are_there_are_looked_at_though_others_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "vggish.pth").write_bytes(b"something else")
    options = [f"cache_dir={tmp_path}", f"metric.fad.encoder.weights.path={tmp_path / 'vggish.pth'}"]
    ahead = outlook(composed("musicgen_small", options))
    changed, reason = ahead.obstacles()
    other = hashlib.sha256(b"something else").hexdigest()[:12]
    assert reason.startswith(f"VGGish weights {other}, published ") and reason.endswith(" (FAD)")
    assert changed.startswith("protocol musicgen (changed)") and len(ahead.missing) == 5


def test_settings_of_a_model_that_is_missing_are_not_said_to_differ(tmp_path: Path) -> None:
    conf = write(tmp_path / "conf", tmp_path / "cache")
    for file, old, new in (
        ("published/card.yaml", "top_k: 100", "top_k: 100, steps: 20"),
        ("model/their_music.yaml", "path: '", "path: '/absent"),
    ):
        (conf / file).write_text((conf / file).read_text().replace(old, new))
    options = [f"cache_dir={tmp_path / 'cache'}", f"prompts.count={COUNT}"]
    ahead = outlook(composed("their_music", options, config_dir=str(conf)))
    found = list(ahead.obstacles())
    assert len(ahead.missing) == 1 and found[0].startswith("checkpoint '/absent")
    assert not any("steps" in text for text in found)


def test_a_metric_that_is_computed_otherwise_is_named_beside_one_that_is_not(tmp_path: Path) -> None:
    conf = write(tmp_path / "conf", tmp_path / "cache")
    card = conf / "published" / "card.yaml"
    card.write_text(card.read_text().replace("silence_share: null", "fad: 3.0"))
    options = [f"cache_dir={tmp_path / 'cache'}", f"prompts.count={COUNT}", "random_weights=0", "metric.fad.ddof=0"]
    found = outlook(composed("their_music", options, config_dir=str(conf))).obstacles()
    assert "protocol musicgen (changed), published musicgen (FAD)" in set(found)


def test_of_a_folder_nothing_can_be_reproduced_and_absent_clips_are_named(tmp_path: Path) -> None:
    conf = write(
        tmp_path / "conf", tmp_path / "cache", tolerance="{chroma: {margin: 0.1, rounding: 0.005, because: x}}"
    )
    (tmp_path / "refs").mkdir()
    clips = tmp_path / "clips"
    clips.mkdir()
    prompts = Synthetic(COUNT).load(Cache(None)).prompts
    for number, prompt in enumerate(sampled(prompts, 3)):
        noise = np.random.default_rng(number).normal(0, 0.1, 48_000)
        soundfile.write(clips / f"{prompt.id}.wav", noise, 32_000)
        if number < COUNT:
            soundfile.write(tmp_path / "refs" / f"{prompt.id}.wav", noise[::-1], 32_000)
    claim = ["model.folder.path=" + str(clips), "model.folder.published=their/music", f"prompts.count={COUNT}"]
    claim += [f"prompts.references={tmp_path / 'refs'}", f"cache_dir={tmp_path / 'cache'}", "metric=[chroma]"]

    def ahead(seeds: int | None) -> Outlook:
        return outlook(composed("folder", claim, seeds, str(conf)))

    assert said(ahead(None))["verdict"] == "UNDECIDED at best: 3 seeds or more are needed"
    assert said(ahead(3))["verdict"].startswith("REPRODUCED is out of reach: nobody can check")
    three, four = ahead(3), ahead(4)
    assert three.prompts is not None and four.prompts is not None
    assert [stage.name for stage in stages(three.plan, three.prompts, three.references)] == [
        *("features of clips", "features of references"),
    ]
    with pytest.raises(EvalkitError, match="folder: 40 of 160 clips are not usable"):
        stages(four.plan, four.prompts, four.references)
