"""Runs beyond one process: workers fill the cache, and the run finds what it would have made itself."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pandas as pd
import pytest
import soundfile
from omegaconf import OmegaConf

import evalkit
from evalkit import filling
from evalkit.audio import Audio
from evalkit.config import compose
from evalkit.encoders import Encoder, Input, Reads
from evalkit.encoders.chroma import Chroma
from evalkit.errors import EvalkitError
from evalkit.features import conditioning, extractor
from evalkit.features.extractor import Extractor
from evalkit.filling import jobs, share, workers
from evalkit.filling.launching import OF_A_CLUSTER, number_of_workers
from evalkit.generation.clips import Maker
from evalkit.metrics.fad import FAD
from evalkit.models import Generate
from evalkit.models.synth.synth import Synth
from evalkit.objects import Objects, compose_with
from evalkit.parallel.scheduler import ATTEMPTS, Scheduler
from evalkit.parallel.units import Done, Unit, Worker
from evalkit.pipeline import evaluate
from evalkit.plan import make_plan
from evalkit.results.plots import sweeps
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep
from evalkit.scoring import resampling
from evalkit.scoring.rows import ready
from evalkit.settings import Engine, Launcher, Sampling
from evalkit.store.cache import Cache
from evalkit.sweeping import points
from evalkit.types import Clip, Features, Measured, Prompt


class Here:
    """A launcher whose workers are in this process: what they get and give is what could go through a pipe."""

    def __init__(self, engine: Engine, count: int, store: Path):
        self.workers = [Worker() for _ in range(count)]
        self.units: list[Unit] = []
        self.done: list[Unit] = []  # with those that were given out again
        self.busy = False

    def run(self, units: Sequence[Unit]) -> Iterator[Done]:
        self.units += units
        scheduler = Scheduler(units)
        while not scheduler.finished:
            for number, worker in enumerate(self.workers):
                if (unit := scheduler.next(number)) is None:
                    continue
                self.done.append(unit)
                self.busy = True
                try:
                    done: Done = pickle.loads(pickle.dumps(worker.do(pickle.loads(pickle.dumps(unit)))))
                    said = scheduler.done(number, done)
                except RuntimeError as error:
                    said = scheduler.broke(number, f"{type(error).__name__}: {error}")
                finally:
                    self.busy = False
                if said:
                    yield said

    def close(self) -> None:
        self.workers = []


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Here]:
    """Workers in this process, which takes no seconds to start; the launchers that are made."""
    made: list[Here] = []

    def launched(engine: Engine, count: int, store: Path) -> Here:
        made.append(Here(engine, count, store))
        return made[-1]

    monkeypatch.setattr(workers, "launched", launched)
    return made


@pytest.fixture
def seen(here: list[Here], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What has made anything, and whether in a worker."""
    found: list[tuple[str, bool]] = []

    def watch(place: Any, name: str) -> None:
        true = getattr(place, name)

        def watched(*arguments: Any) -> Any:
            found.append((name, any(launcher.busy for launcher in here)))
            return true(*arguments)

        monkeypatch.setattr(place, name, watched)

    for place, name in ((Maker, "make"), (Extractor, "_encoded"), (Extractor, "_made"), (resampling, "resample")):
        watch(place, name)
    return found


Record = TypeVar("Record", Result, Sweep)


def both(
    folder: Path, run: Callable[..., Record], *more: str, seen: list[tuple[str, bool]] | None = None
) -> tuple[Record, Record]:
    """Make a plain run, and one with workers, each with an empty cache of the same name; `more` is for the second."""
    options = [f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}", "engine.quiet=true"]
    plain = run(*options)
    (folder / "cache").rename(folder / "first")
    if seen is not None:
        made_here = {name for name, elsewhere in seen if not elsewhere}
        seen.clear()
    shared = run(*options, *more)
    if seen is not None:
        assert set(seen) == {(name, True) for name in made_here}  # by workers alone
    return plain, shared


def require_same(one: Record, other: Record) -> None:
    """Fail unless two results are equal in all but their folder and how the work was done."""
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if field.name == "evidence":
            left, right = left.index, right.index  # which names files by their content
        if field.name == "config":
            left, right = ({**config, "engine": None} for config in (left, right))
        if isinstance(left, pd.DataFrame):
            # of a sweep's points, whose results say how the work was done
            left, right = (frame.drop(columns="sha256") if field.name == "points" else frame for frame in (left, right))
            pd.testing.assert_frame_equal(left, right, check_exact=True)
        elif field.name != "path":
            assert left == right, field.name


@dataclass(frozen=True)
class Words:
    """An encoder of captions."""

    kind: ClassVar[str] = "words"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    reads: ClassVar[Reads] = "text"
    hears: ClassVar[None] = None

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        return lambda captions: [np.full((1, 12), len(caption), np.float32) for caption in captions]


@dataclass(frozen=True)
class Fits:
    """How long captions are, and how loud their clips."""

    encoder: ClassVar[Encoder] = Chroma()
    reference_encoder: ClassVar[Encoder] = Words()
    kind: ClassVar[str] = "fits"
    title: ClassVar[str] = "Fits"
    higher_is_better: ClassVar[None] = None
    bounds: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    clip_by_clip: ClassVar[bool] = True
    additive: ClassVar[bool] = False

    def __call__(self, generated: Features, reference: Features) -> Measured:
        sums = [ours.sum() + theirs.sum() for ours, theirs in zip(generated.values, reference.values, strict=True)]
        return Measured(float(np.mean(sums)), n=len(sums))


DEMO = ["prompts=demo", "random_weights=0", "sampling.duration=1", "uncertainty.resamples=100"]


@pytest.mark.parametrize(
    ("options", "more"),
    [
        # references that a model renders, captions, several clips of a prompt, clips that calibration makes
        (
            ["model=tiny_stereo", "metric=[chroma,stereo]", "calibration=[halves,codec]", "prompts.first=3"],
            ["engine.workers=2"],
        ),
        (["model=synth", "metric=[chroma]", "sampling.samples_per_prompt=2", "prompts.first=4"], ["engine.workers=3"]),
    ],
)
def test_a_run_with_workers_is_the_run_without(
    options: list[str], more: list[str], tmp_path: Path, here: list[Here], seen: list[tuple[str, bool]]
) -> None:
    metrics = {"fits": Fits()}
    plain, shared = both(
        tmp_path, lambda *given: evalkit.evaluate(*DEMO, *options, *given, metrics=metrics), *more, seen=seen
    )
    require_same(plain, shared)
    titles = {unit.job.title for launcher in here for unit in launcher.units}
    assert titles >= {"features", "generating references"}


@pytest.mark.slow
@pytest.mark.parametrize("more", [["engine.workers=3"], ["engine.workers=2", "engine.feature_batch_size=3"]])
def test_networks_say_the_same_in_any_number_of_processes(more: list[str], tmp_path: Path) -> None:
    options = ["model=tiny_stereo", "metric=[fad,kld,clap_score]", "prompts.first=7", "engine.batch_size=3"]
    plain, shared = both(tmp_path, lambda *given: evalkit.evaluate(*DEMO, *options, *given), *more)
    require_same(plain, shared)
    assert " printed: " not in (shared.path / "run.log").read_text()  # what is logged is not printed as well


def test_resamples_are_made_by_workers_too(tmp_path: Path, here: list[Here], seen: list[tuple[str, bool]]) -> None:
    options = ["model=synth", "model.synth.noise=0.1", "metric=[]", "prompts.first=12", "slices=[caption_length]"]
    metrics = {"a": FAD(Chroma()), "b": FAD(Chroma(), ddof=0)}

    def run(*given: str) -> Result:
        return evalkit.evaluate(*DEMO, *options, *given, metrics=metrics)

    plain, shared = both(tmp_path, run, "engine.workers=2", seen=seen)
    require_same(plain, shared)
    assert plain.scores["low"].notna().all()
    asked = [unit.ids for launcher in here for unit in launcher.units if unit.job.title == "resamples"]
    assert len(asked) == 2 * (1 + len(plain.slices) / 2)
    # all is cached now: nobody is asked for anything
    here.clear()
    seen.clear()
    given = [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}", "engine.quiet=true"]
    require_same(plain, evalkit.evaluate(*DEMO, *options, *given, "engine.workers=2", metrics=metrics))
    assert not any(launcher.units for launcher in here) and not seen


def test_shares_together_make_what_a_run_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [
        "model=synth",
        "model.synth.seed=1",
        "metric=[chroma]",
        "prompts.first=5",
        "sampling.samples_per_prompt=2",
    ]
    given = [*DEMO, *options, f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    plain = evaluate(compose(given))
    (tmp_path / "cache").rename(tmp_path / "first")
    filled = [share(compose(given), index, 3) for index in range(3)]
    assert sum(one.made for one in filled) == 15 and sum(one.encoded for one in filled) == 15  # 5 references, 10 clips
    assert max(one.made for one in filled) < 15
    assert not any(one.found or one.failed for one in filled)
    again = share(compose(given), 1, 3)
    assert (again.made, again.found, again.encoded) == (0, filled[1].made, 0)
    monkeypatch.setattr(Synth, "load", refused)
    monkeypatch.setattr(Chroma, "load", refused)
    require_same(plain, evaluate(compose(given)))


def refused(*_: Any) -> Any:
    raise AssertionError("nothing is left to be made")


def test_a_share_says_which_clips_cannot_be_used(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "demo-piano1.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 32000), 32000)
    (clips / "demo-folkg1.wav").write_bytes(b"no audio")
    options = ["model=folder", f"model.folder.path={clips}", "metric=[chroma]", "prompts.first=2"]
    given = [*DEMO, *options, f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    filled = share(compose(given), 0, 1)
    assert [*filled.failed] == ["folder: demo-folkg1"] and "decoded" in filled.failed["folder: demo-folkg1"]
    assert (filled.made, filled.found, filled.encoded) == (2, 0, 3)  # references, and what can be read
    assert not share(compose([*given, "engine.keep_going=true"]), 0, 1).failed


def test_a_share_says_that_an_encoder_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> Any:
        raise RuntimeError("no memory")

    monkeypatch.setattr(Chroma, "load", load)
    given = [*DEMO, "model=synth", "model.synth.seed=1", "metric=[chroma]", "prompts.first=2"]
    given += [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}", "engine.keep_going=true"]
    filled = share(compose(given), 0, 1)
    assert [*filled.failed] == ["encoder 1"] and "no memory" in filled.failed["encoder 1"]
    assert (filled.made, filled.found) == (4, 0)


def test_a_share_counts_no_clip_that_could_not_be_made(
    tmp_path: Path, here: list[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    troubled(tmp_path, "fine", "fails", "fine")
    given = ["prompts=table", f"prompts.path={tmp_path / 'prompts.csv'}", "metric=[stereo]", "engine.workers=2"]
    given += ["engine.keep_going=true"]
    given += [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}", "engine.quiet=true"]
    config, objects = compose_with(given, None, Objects({"x": Troubled(str(tmp_path / "marks"))}))
    monkeypatch.setattr(filling, "ready", lambda config: ready(config, objects))
    filled = share(config, 0, 1)
    assert (filled.made, filled.found, filled.failed) == (2, 0, {})


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"race": "10,all"}])
def test_a_sweep_with_workers_is_the_sweep_without(
    more: Mapping[str, Any], tmp_path: Path, here: list[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "write", lambda *_: [])

    def run(*given: str) -> Sweep:
        base = ["model=synth", "prompts=synthetic", f"prompts.first={12 if more else 3}", "metric=[chroma]"]
        base += ["random_weights=0", "sampling.duration=1", "uncertainty.resamples=0"]
        return evalkit.sweep(*base, "model.synth.detune=0.0,100.0,300.0", *given, **more)

    plain, shared = both(tmp_path, run, "engine.workers=2")
    require_same(plain, shared)
    for number in range(1, 4):
        require_same(plain.result(number), shared.result(number))
    measured = [unit.ids for launcher in here for unit in launcher.units if unit.job.title == "points"]
    assert measured[:2] == [("2",), ("3",)]  # the first is measured before, alone


@dataclass(frozen=True)
class Troubled:
    """A model of noise that is in trouble with captions that say so.

    Attributes:
        marks: a folder where it leaves a file for each caption that it has seen in each process.
    """

    marks: str
    kind: ClassVar[str] = "troubled"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    published: ClassVar[None] = None
    checkpoint: ClassVar[None] = None
    codec: ClassVar[None] = None

    def check(self, sampling: Sampling) -> None: ...

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        return ()

    def load(self, cache: Cache, engine: Engine) -> Generate:
        return lambda prompts, sampling: [self.clip(prompt) for prompt in prompts]

    def clip(self, prompt: Prompt) -> Audio:
        said = prompt.text.split()[-1]
        seen = Path(self.marks) / f"{said}-{os.getpid()}"
        before = list(Path(self.marks).glob(f"{said}-*"))
        seen.touch()
        if said == "kills" or (said == "killed" and not before):
            os.kill(os.getpid(), signal.SIGKILL)
        if said == "fails":
            raise RuntimeError("no music")
        rng = np.random.default_rng(list(prompt.id.encode()))
        return Audio(rng.uniform(-0.5, 0.5, (2, 16000)).astype(np.float32), 16000)


def troubled(folder: Path, *captions: str) -> Callable[..., Result]:
    """A run of the model on some captions of one word, each with the number of its place as its id."""
    marks = folder / "marks"
    marks.mkdir()
    rows = [f"{number},{caption}" for number, caption in enumerate(captions)]
    (folder / "prompts.csv").write_text("\n".join(["id,caption", *rows]))
    table = ["prompts=table", f"prompts.path={folder / 'prompts.csv'}", "metric=[stereo]", "engine.batch_size=4"]
    places = [f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}", "engine.quiet=true"]
    model = {"x": Troubled(str(marks))}
    return lambda *options: evalkit.evaluate(*table, *dict.fromkeys([*places, *options]), models=model)


def touched_here(folder: Path) -> list[Path]:
    return list((folder / "marks").glob(f"*-{os.getpid()}"))


@pytest.mark.parametrize(
    "more", [["engine.workers=2"], pytest.param(["engine.workers=2", "engine.launcher=ray"], marks=pytest.mark.slow)]
)
def test_a_worker_that_is_killed_in_the_middle_of_a_batch_changes_nothing(more: list[str], tmp_path: Path) -> None:
    run = troubled(tmp_path, *["fine"] * 6, "killed", "fine")
    (tmp_path / "marks" / "killed-0").touch()  # so that this process is not

    def made(*options: str) -> Result:
        if "engine.workers=2" in options:
            for path in (tmp_path / "marks").iterdir():
                path.unlink()
        return run(*options)

    plain, shared = both(tmp_path, made, *more)
    require_same(plain, shared)
    assert len(list((tmp_path / "marks").glob("killed-*"))) == 2  # the one that was killed, and the one after it
    assert not touched_here(tmp_path)
    log = (shared.path / "run.log").read_text()
    assert "generating x: 8 clips in " in log
    assert "engine.launcher=ray" in more or "was killed (SIGKILL)" in log


@pytest.mark.slow
def test_prompts_that_fail_or_kill_their_process_are_said_and_the_others_are_not_lost(tmp_path: Path) -> None:
    run = troubled(tmp_path, *["fine"] * 4, "kills", "fine", "fails", "fine", "fine")
    with pytest.raises(EvalkitError, match=r"x: 2 of 9 clips could not be made \(.*engine.keep_going=true"):
        run("engine.workers=2")
    result = run("engine.workers=2", "engine.keep_going=true")
    assert not touched_here(tmp_path)
    clips = result.clips.set_index("id")
    assert clips["status"][clips["status"] != "ok"].to_dict() == {"4": "failed", "6": "failed"}
    assert "SIGKILL" in clips["reason"]["4"] and "RuntimeError: no music" in clips["reason"]["6"]


@pytest.mark.slow
def test_an_interrupt_stops_all_workers_and_keeps_what_is_finished(tmp_path: Path) -> None:
    options = ["model=tiny_stereo", "prompts=demo", "prompts.first=8", "metric=[stereo]", "sampling.duration=1"]
    options += ["engine.batch_size=1", f"output_dir={tmp_path / 'runs'}"]
    plain = evalkit.evaluate(*options, f"cache_dir={tmp_path / 'first'}")
    options += [f"cache_dir={tmp_path / 'cache'}", "engine.workers=2"]
    run = subprocess.Popen(
        [sys.executable, "-m", "evalkit.cli", "run", *options],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    clips = tmp_path / "cache" / "clips"
    while len(list(clips.rglob("*.flac"))) < 2 and run.poll() is None:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    _, said = run.communicate(timeout=60)
    assert run.returncode == -signal.SIGINT and "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)  # nobody of them is left
    result = evalkit.evaluate(*options)
    assert " of 8 clips are to be made" in (result.path / "run.log").read_text()
    assert result.clips["sha256"].tolist() == plain.clips["sha256"].tolist()
    pd.testing.assert_frame_equal(result.scores, plain.scores, check_exact=True)


def test_a_prompt_that_fails_is_tried_a_few_times_and_not_in_this_process(
    tmp_path: Path, here: list[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = troubled(tmp_path, "fine", "fine", "fails")
    result = run("engine.workers=2", "engine.keep_going=true")
    assert [*result.clips["status"]] == ["ok", "ok", "failed"]
    assert result.clips["reason"][2].startswith("RuntimeError: no music")
    tried = [unit.ids for launcher in here for unit in launcher.done if unit.job.title == "generating x"]
    assert sum(len(ids) == 1 and '"fails"' in ids[0] for ids in tried) == ATTEMPTS
    log = (result.path / "run.log").read_text()
    assert log.count("the clip of '2' could not be made: RuntimeError: no music") == 1


@dataclass(frozen=True)
class Deadly:
    """An encoder that kills its process where a clip is quiet."""

    kind: ClassVar[str] = "deadly"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    reads: ClassVar[Reads] = "audio"
    hears: ClassVar[Input] = Input(16000)

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        return lambda clips: [self.features(clip) for clip in clips]

    def features(self, clip: np.ndarray) -> np.ndarray:
        if np.abs(clip).max() < 0.01:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.abs(clip[:16000]).reshape(1, -1).mean(axis=1, keepdims=True).astype(np.float32)


@dataclass(frozen=True)
class Loud:
    """The mean level of clips."""

    encoder: Encoder = Deadly()
    kind: ClassVar[str] = "loud"
    title: ClassVar[str] = "Loud"
    higher_is_better: ClassVar[None] = None
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False
    reference_encoder: ClassVar[None] = None

    def __call__(self, generated: Features, reference: None) -> Measured:
        return Measured(float(np.mean([value.mean() for value in generated.values])), n=len(generated.ids))


@pytest.mark.slow
def test_a_clip_that_kills_what_encodes_it_is_said_and_the_others_count(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(5):
        samples = np.random.default_rng(number).uniform(-1, 1, 32000) * (0.001 if number == 3 else 0.5)
        soundfile.write(clips / f"{number}.wav", samples, 32000)
    (tmp_path / "prompts.csv").write_text("\n".join(["id,caption", *(f"{number},music" for number in range(5))]))
    options = ["model=folder", f"model.folder.path={clips}", "metric=[]", "prompts=table", "engine.quiet=true"]
    options += [f"prompts.path={tmp_path / 'prompts.csv'}", f"cache_dir={tmp_path / 'cache'}"]
    options += [f"output_dir={tmp_path / 'runs'}", "engine.workers=2"]
    with pytest.raises(EvalkitError, match=r"1 of 5 clips could not be encoded \(3: its worker was killed"):
        evalkit.evaluate(*options, metrics={"loud": Loud()})
    result = evalkit.evaluate(*options, "engine.keep_going=true", metrics={"loud": Loud()})
    assert result.clips["status"].to_dict() == {0: "ok", 1: "ok", 2: "ok", 3: "unreadable", 4: "ok"}
    assert result.scores["n"].tolist() == [4]


SCRIPT = """
from dataclasses import dataclass
from typing import ClassVar
import evalkit
from tests.test_filling import Deadly, Loud, Troubled

@dataclass(frozen=True)
class Model(Troubled):
    kind: ClassVar[str] = "of_a_script"

@dataclass(frozen=True)
class Network(Deadly):
    kind: ClassVar[str] = "network_of_a_script"

evalkit.evaluate(
    "prompts=demo", "prompts.first=2", "metric=[]", "uncertainty.resamples=0", "cache_dir=cache", "output_dir=runs",
    "engine.quiet=true", "engine.workers=2", models={"x": Model("marks")}, metrics={"loud": Loud(Network())},
)
"""


def test_components_of_a_script_are_found_under_the_keys_of_its_own_process(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "marks").mkdir()
    root = str(Path(__file__).parents[1])
    ran = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    # what this process looks for is what the workers have written, and there is nothing else
    assert {kind: len(list((tmp_path / "cache" / kind).iterdir())) for kind in ("clips", "features")} == {
        "clips": 1,
        "features": 1,
    }


def referred(folder: Path) -> Callable[..., Result]:
    """A run on ten clips in a folder, and references in another."""
    for place in ("clips", "references"):
        (folder / place).mkdir()
        for number in range(10):
            samples = np.random.default_rng(number).uniform(-0.5, 0.5, 32000)
            soundfile.write(folder / place / f"{number}.wav", samples, 32000)
    (folder / "prompts.csv").write_text("\n".join(["id,caption", *(f"{number},music" for number in range(10))]))
    options = ["model=folder", f"model.folder.path={folder / 'clips'}", "metric=[]", "prompts=table"]
    options += [f"prompts.path={folder / 'prompts.csv'}", f"prompts.references={folder / 'references'}"]
    options += [f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}", "engine.quiet=true"]
    metrics = {"fad": FAD(Chroma())}
    return lambda *more: evalkit.evaluate(*options, "uncertainty.resamples=0", *more, metrics=metrics)


def test_a_reference_that_workers_break_at_ends_the_run_unless_it_is_to_keep_going(
    tmp_path: Path, here: list[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = referred(tmp_path)

    def breaks(clip: Clip, *arguments: Any) -> Any:
        if str(clip.path).endswith("references/3.wav"):
            raise RuntimeError("no room")
        return conditioning.condition(clip, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(extractor, "condition", breaks)
        with pytest.raises(EvalkitError, match=r"references: 1 of 10 clips .* \(3: RuntimeError: no room.*keep_going"):
            run("engine.workers=2")
        assert run("engine.workers=2", "engine.keep_going=true").scores["n"].tolist() == [9]
    (tmp_path / "references" / "3.wav").write_bytes(b"no audio")  # which a run without workers leaves out as well
    assert run("engine.workers=2").scores["n"].tolist() == [9]


def test_files_that_only_the_run_sees_are_named(
    tmp_path: Path, here: list[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, to_clip = referred(tmp_path), jobs.to_clip

    def on_a_node(text: str) -> Clip:
        clip = to_clip(text)
        assert clip.path is not None
        return dataclasses.replace(clip, path=clip.path.with_suffix(".elsewhere"))

    monkeypatch.setattr(jobs, "to_clip", on_a_node)
    with pytest.raises(EvalkitError, match=r"0\.elsewhere' cannot be opened on .*file system that all workers share"):
        run("engine.workers=2", "engine.keep_going=true")


@dataclass(frozen=True)
class Once(Deadly):
    """An encoder that fails at its first call in a process."""

    kind: ClassVar[str] = "once"
    calls: ClassVar[list[int]] = []

    def features(self, clip: np.ndarray) -> np.ndarray:
        self.calls.append(len(clip))
        if len(self.calls) == 1:
            raise RuntimeError("out of luck")
        return super().features(clip)


def test_an_encoder_that_fails_once_in_a_worker_is_not_given_up_by_it(tmp_path: Path) -> None:
    clips, network, cache = [], Once(), Cache(tmp_path / "cache")
    for number in range(2):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.random.default_rng(number).uniform(-0.5, 0.5, 32000), 32000)
        clips.append(Clip(str(number), path, sha256=str(number) * 64, frames=32000, sample_rate=32000, channels=1))
    of_run = Extractor(cache, "cpu", None, 32000)
    job = jobs.Encode(
        (network,), ((network, of_run.definition(network)),), str(cache.root), "cpu", None, 32000, "julius"
    )
    work = job.begin()
    for clip in clips:
        text = jobs.of_clip(clip, None, [0])
        assert work([text]) == Done((text,))
    missing = of_run.not_encoded(clips, {of_run.key(network): network}, loudness=None)
    assert [clip.id for clip in missing] == ["0"]


class Silent:
    """Workers that say that they have done all, and have done nothing."""

    def __init__(self) -> None:
        self.units: list[Unit] = []

    def do(self, units: Sequence[Unit], title: str, counts: str) -> dict[str, str]:
        self.units += units
        return {}


def test_points_that_workers_measure_elsewhere_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "here")
    config = OmegaConf.create({"model": {"x": 1}, "output_dir": "${oc.env:PLACE}"})
    workers: Any = Silent()
    with pytest.raises(EvalkitError, match=r"set output_dir to a folder that all workers share"):
        points.measure_with(workers, tmp_path, {1: points.Point(config, {})})
    (unit,) = workers.units
    monkeypatch.setenv("PLACE", "there")
    assert unit.job.points["1"].config.output_dir == "here"  # not as the worker's variables have it
    unit.job.begin()
    with pytest.raises(EvalkitError, match=r"nowhere' is not on .*: set output_dir"):
        points.Measure(str(tmp_path / "nowhere"), {}).begin()


def test_what_workers_say_that_they_made_must_be_in_the_cache(
    tmp_path: Path, here: list[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "do", lambda self, unit: Done(unit.ids))
    with pytest.raises(EvalkitError, match=r"synth: 2 clips that other processes have made are not in .*cache_dir"):
        evalkit.evaluate(
            *DEMO, "model=synth", "metric=[stereo]", "prompts.first=2", f"cache_dir={tmp_path / 'cache'}",
            f"output_dir={tmp_path / 'runs'}", "engine.workers=2", "engine.quiet=true",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("engine.workers=0", r"engine\.workers=0: must be a whole number from 1 to 1,024, or auto"),
        ("engine.workers=1.5", r"engine\.workers=1\.5: must be"),
        ("engine.workers=true", r"engine\.workers=True: must be"),
        ("engine.workers=many", r"engine\.workers=many: must be"),
        ("engine.address=10.0.0.1:6379", r"engine\.address=10\.0\.0\.1:6379 .* set engine\.launcher=ray"),
        ("engine.launcher=slurm", r"engine\.launcher"),
        ("engine.launcher=ray", r"engine\.launcher=ray is for several workers: set engine\.workers to 2 or more"),
    ],
)
def test_an_engine_that_cannot_be_is_refused_in_one_line(option: str, said: str) -> None:
    with pytest.raises(EvalkitError, match=said):
        make_plan(compose(["model=synth", "prompts=demo", "metric=[stereo]", option]))


def test_on_a_cpu_auto_is_this_process() -> None:
    assert number_of_workers(Engine(device="cpu", workers="auto")) is None
    assert number_of_workers(Engine(device="cpu", workers=3)) == 3
    assert number_of_workers(Engine(device="cpu", workers="auto", launcher=Launcher.ray)) == OF_A_CLUSTER
    with pytest.raises(EvalkitError, match=r"engine\.device=cuda:1 is one GPU"):
        number_of_workers(Engine(device="cuda:1", workers=2))
