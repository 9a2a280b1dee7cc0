"""What the record of a run says beside the numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

import evalkit
from evalkit.generation.clips import computing
from evalkit.models.synth.synth import Synth
from evalkit.recording import prompts_frame, remarks
from evalkit.results.evidence import Writer
from evalkit.results.frames import PROMPTS
from evalkit.scoring.scores import Measurement
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.types import Prompt, PromptSet
from tests.engines import cpu
from tests.scoring.made import plan


def without_clips(folder: Path, *models: str) -> Measurement:
    """What is measured of models that have made nothing."""
    empty = pd.DataFrame()
    return Measurement({}, {}, [], {name: [] for name in models}, {}, empty, empty, empty, Writer(folder).evidence())


def test_a_table_says_which_models_heard_what_was_given(tmp_path: Path) -> None:
    class Melodic(Synth):
        def conditions(self, cache: Cache) -> tuple[str, ...]:
            return ("melody",)

    given = (
        Prompt("a", "x", melody=tmp_path, continuation=tmp_path),
        Prompt("b", "y", melody=tmp_path),
        Prompt("c", "z"),
    )
    prompts = PromptSet("x", "all", 3, given, "")
    both = replace(plan(tmp_path), models={"m": Melodic(), "s": Synth()})
    said = list(remarks(both, prompts, without_clips(tmp_path, "m", "s")))
    assert said[-3:] == [
        "m: 2 of 3 prompts have a melody beside the caption, which published numbers need not have",
        "the melody of 2 of 3 prompts is not used: s did without",
        "the continuation of 1 of 3 prompts is not used: m, s did without",
    ]
    captions = replace(prompts, prompts=given[2:])
    one = replace(plan(tmp_path), models={"m": Melodic()})
    assert not list(remarks(one, captions, without_clips(tmp_path, "m")))


def test_a_table_says_how_many_prompts_models_are_given_in_translation(tmp_path: Path) -> None:
    def said(*prompts: Prompt) -> list[str]:
        of_all = PromptSet("x", "all", len(prompts), prompts, "")
        return list(remarks(replace(plan(tmp_path), models={"s": Synth()}), of_all, without_clips(tmp_path, "s")))

    english, german = Prompt("a", "x", language="en"), Prompt("b", "y", translation="z", language="de")
    japanese = replace(german, id="c", language="ja")
    assert said(english) == []
    scored = "and scored against their captions"
    assert said(english, japanese, german) == [f"2 of 3 prompts are given in translation (de, ja), {scored}"]
    assert said(german, replace(japanese, language="")) == [f"2 of 2 prompts are given in translation, {scored}"]


def test_a_record_names_the_melodies_that_prompts_give(tmp_path: Path) -> None:
    file = tmp_path / "tune.wav"
    file.write_bytes(b"la la")
    prompts = PromptSet("x", "all", 2, (Prompt("a", "x", melody=file), Prompt("b", "y")), "")
    frame = prompts_frame(prompts)
    assert list(frame["melody"]) == [str(file), ""]
    assert list(frame["melody_sha256"]) == [sha256_file(file), ""]
    assert list(prompts_frame(replace(prompts, prompts=prompts.prompts[1:])).columns) == list(PROMPTS)


def test_a_record_says_how_clips_were_made_also_those_that_it_found(tmp_path: Path) -> None:
    folders = [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    options = [*folders, "model=synth", "prompts=demo", "prompts.references=null", "metric=[silence]", "calibration={}"]
    options.append("sampling.duration=1.5")
    made = [evalkit.evaluate(*options, f"prompts.first={n}", quiet=True) for n in (2, 3, 3)]
    assert [one.rows["synth"].made for one in made] == [[{"clips": n, **computing(cpu())}] for n in (2, 3, 3)]
    assert evalkit.load(made[1].path).rows["synth"].made == made[1].rows["synth"].made
    assert "- generated: 3 clips: " in (made[1].path / "table.md").read_text("utf-8")
