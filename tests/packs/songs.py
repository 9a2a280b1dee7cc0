"""A few short recordings with captions, of which some cannot be used, and runs on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from evalkit.config import compose
from evalkit.packing.making import pack_of
from evalkit.packs.files import write_pack
from evalkit.packs.pack import Pack
from evalkit.pipeline import evaluate
from evalkit.results.result import Result

RATE = 16000
SECONDS = {"long": 3.1, "exact": 2.0, "short": 1.5, "mp": 2.6, "brief": 0.4, "silent": 2.5, "broken": 2.5, "huge": 9.0}
USABLE = ("long", "exact", "short", "mp")
FAD = """\
defaults:
  - /encoder@fad_chroma.encoder: chroma
  - _self_

fad_chroma:
  _target_: evalkit.metrics.fad.FAD
  title: FAD (chroma)
"""


def write(path: Path, seconds: float, seed: int) -> None:
    """Write chords of a few seconds in stereo."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    notes = sum(np.sin(2 * np.pi * f * times + rng.uniform(0, 6)) for f in rng.uniform(100, 2000, 4))
    noise = rng.normal(0, 0.02, (len(times), 2))
    soundfile.write(path, (0.1 * np.asarray(notes)[:, None] + noise).astype(np.float32), RATE)


def make(folder: Path) -> Path:
    """Make recordings, captions, clips of a model, and a YAML of a cheap metric of whole sets."""
    (folder / "clips").mkdir(parents=True)
    (folder / "made").mkdir()
    (folder / "conf" / "metric").mkdir(parents=True)
    (folder / "conf" / "metric" / "fad_chroma.yaml").write_text(FAD)
    for seed, (name, seconds) in enumerate(SECONDS.items()):
        write(folder / "clips" / f"{name}.flac", seconds, seed)
        write(folder / "made" / f"{name}.wav", 2.0, 100 + seed)
    write(folder / "made" / "absent.wav", 2.0, 99)
    soundfile.write(folder / "clips" / "silent.flac", np.zeros((RATE * 3, 1)), RATE)
    broken = folder / "clips" / "broken.flac"
    broken.write_bytes(broken.read_bytes()[:9000])
    captions = [*SECONDS, "absent"]
    table(folder / "songs.csv", {name: f"a song that is {name}" for name in captions})
    return folder


def table(path: Path, captions: dict[str, str]) -> None:
    """Write captions by id."""
    pd.DataFrame({"id": captions.keys(), "text": captions.values()}).to_csv(path, index=False)


def options(folder: Path, cache: str = "cache") -> list[str]:
    """The options of runs on these; those without a pack give the recordings too."""
    return [
        "prompts=table", f"prompts.path={folder / 'songs.csv'}", "prompts.cut=end", "prompts.max_seconds=6",
        "metric=[fad_chroma,chroma]", "sampling.duration=2", "uncertainty.resamples=100", "min_references=0.4",
        f"cache_dir={folder / cache}", f"output_dir={folder / 'runs'}", "engine.quiet=true",
    ]  # fmt: skip


def run(folder: Path, *more: str, cache: str = "cache") -> Result:
    """Make a run."""
    return evaluate(compose([*options(folder, cache), *more], str(folder / "conf")))


def pack(folder: Path, name: str, *more: str) -> Pack:
    """Pack the recordings into a file."""
    given = [*options(folder), "model=synth", f"prompts.references={folder / 'clips'}", *more]
    made = pack_of(compose(given, str(folder / "conf"))).pack
    write_pack(folder / name, made)
    return made


PLACES = ["path", "reference_path"]


def require_same(audio: Result, packed: Result) -> None:
    """Fail unless what a run measured is equal to the last bit, but for where files lie and why some are absent."""
    for name in ("scores", "slices", "context", "values", "prompts"):
        pd.testing.assert_frame_equal(getattr(audio, name), getattr(packed, name), check_exact=True)
    ours, theirs = (result.clips.drop(columns=PLACES) for result in (audio, packed))
    absent = ours["reference_status"] == "missing"
    for clips in (ours, theirs):
        clips.loc[absent, "reference_reason"] = ""
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    pd.testing.assert_frame_equal(audio.evidence.index, packed.evidence.index)  # which names features by content
    assert audio.metrics == packed.metrics and audio.rows == packed.rows and audio.remarks == packed.remarks
    one, other = audio.references_info, packed.references_info
    assert one is not None and other is not None
    names = ("usable", "sha256", "rendered_by", "cut", "cut_to")
    assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
