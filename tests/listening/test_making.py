"""A listening test as it lies in its folder: levels, what is hidden, and what pages do not say."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
import yaml

from evalkit.audio import read
from evalkit.errors import EvalkitError
from evalkit.listening.making import Asked, sized
from evalkit.listening.study import Study
from evalkit.listening.webmushra import export
from tests.conftest import Run
from tests.listening.made import NAMES, RATE, result, study, tone


def decoded(data: bytes) -> tuple[np.ndarray, int]:
    """Samples (samples, channels) of an MP3."""
    return soundfile.read(io.BytesIO(data))


def page_data(text: str) -> dict[str, Any]:
    """What a page's script reads."""
    found = re.search(r'<script type="application/json" id="listen-data">(.*?)</script>', text, re.S)
    assert found is not None
    return json.loads(found[1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study(tmp_path_factory.mktemp("study")).study


def test_all_clips_are_equally_loud(made: Study) -> None:
    assert made.facts["level"] == -14.0
    for item in made.facts["items"]:
        samples, rate = decoded(made.sound(item).read_bytes())
        assert pyloudnorm.Meter(rate).integrated_loudness(samples) == pytest.approx(-14, abs=0.3)
        assert np.abs(samples).max() < 1


def test_where_peaks_would_clip_all_are_quieter_and_it_is_said(tmp_path: Path) -> None:
    def clicking(path: Path, system: int, prompt: int) -> None:
        samples = read(path).samples.T * 0.5
        samples[8000] = 0.9
        soundfile.write(path, samples, RATE, subtype="FLOAT")

    found = result(tmp_path, alter=clicking)
    one = study(tmp_path, [str(found.path)], axis="quality")
    level = one.study.facts["level"]
    assert -30 <= level < -15
    assert one.notes == [f"all clips are at {level:.1f} LUFS, not -14: the peaks of some would have clipped"]
    for item in one.study.facts["items"]:
        samples, rate = decoded(one.study.sound(item).read_bytes())
        assert pyloudnorm.Meter(rate).integrated_loudness(samples) == pytest.approx(level, abs=0.3)
        assert np.abs(samples).max() < 1


def test_a_silent_clip_stays_silent_and_one_with_extreme_peaks_draws_no_other_one_down(tmp_path: Path) -> None:
    def extreme(path: Path, system: int, prompt: int) -> None:
        samples = np.zeros((RATE, 2))
        if system == 1:
            samples[100], samples[101:] = 0.9, 1e-3 * np.sin(np.arange(RATE - 101) + prompt)[:, None]
        else:
            samples[0] = prompt * 1e-9  # so that no two files are the same
        soundfile.write(path, samples, RATE, subtype="FLOAT")

    found = result(tmp_path, alter=extreme)
    one = study(tmp_path, [str(found.path)])
    assert one.study.facts["level"] == -30
    assert one.notes[1:] == [
        f"3 clips are quieter than the others, as their peaks would have clipped: {NAMES[1]}",
        f"3 clips are silent, and stay so: {NAMES[0]}",
    ]
    assert {one.study.facts["items"][item]["system"] for item in one.study.facts["quieter"]} == {NAMES[1]}


@pytest.mark.parametrize("axis", ["quality", "relevance", "melody"])
def test_a_bad_control_and_the_reference_are_hidden_among_the_clips(tmp_path: Path, axis: str) -> None:
    found = result(tmp_path, melodies=True)
    facts = study(tmp_path, [str(found.path)], axis=axis).study.facts
    kind = {"quality": "noise", "relevance": "wrong_caption", "melody": "wrong_melody"}[axis]
    control = f"control: {kind.replace('_', ' ')}"
    roles = {name: system["role"] for name, system in facts["systems"].items()}
    assert roles == {NAMES[0]: "system", NAMES[1]: "system", "reference": "reference", control: "control"}
    assert facts["systems"][control]["control"] == kind
    assert facts["systems"][NAMES[1]]["scores"]["fad"]["value"] == 5.0
    assert facts["systems"][NAMES[1]]["scores"]["fad"]["low"] is None
    own = [item for item in facts["items"].values() if item["system"] == control]
    assert len(own) == 3 and all(
        (item.get("of", item["prompt"]) == item["prompt"]) == (kind == "noise") for item in own
    )
    on_pages = Counter(
        facts["items"][item]["system"] for one in facts["sessions"].values() for page in one["pages"] for item in page
    )
    assert len(set(on_pages.values())) == 1 and set(on_pages) == set(roles)


def test_controls_are_what_they_are_called(tmp_path: Path) -> None:
    found = result(tmp_path, names=("m",))
    one = study(tmp_path, [str(found.path)]).study
    by_cell = {(fact["prompt"], fact["system"]): item for item, fact in one.facts["items"].items()}

    def like(prompt: str, system: str, path: str) -> float:
        samples, _ = decoded(one.sound(by_cell[prompt, system]).read_bytes())
        original = read(tmp_path / path).samples.T
        n = min(len(samples), len(original))
        spectra = [np.abs(np.fft.rfft(x[:n, 0])) for x in (samples, original)]
        return float(np.corrcoef(*spectra)[0, 1])

    for prompt, system in by_cell:
        number = prompt.removeprefix("prompt/")
        other = one.facts["items"][by_cell[prompt, system]].get("of", "").removeprefix("prompt/")
        path = {"m": f"clips/0-{number}.wav", "reference": f"references/{number}.wav"}.get(
            system, f"references/{other}.wav"
        )
        assert like(prompt, system, path) > 0.95
        if other:
            assert like(prompt, system, f"references/{number}.wav") < 0.9


def test_a_page_says_nothing_of_who_made_its_clips(made: Study) -> None:
    for session in made.sessions:
        text = made.page(session).read_text("utf-8")
        plain = re.sub(r'(<script type="text/plain" id="sound-)[0-9a-f]+">[^<]*', r"\1", text)
        plain = re.sub(r"<style>.*?</style>", "", plain, flags=re.S)
        shown, script = plain[: plain.rindex("<script>")], plain[plain.rindex("<script>") :]
        for secret in (
            *NAMES,
            "golden",
            "silver",
            "prompt/",
            "reference",
            "control",
            "wrong",
            "/clips",
            ".wav",
            "run/",
        ):
            assert secret not in shown
        for secret in (*NAMES, "golden", "silver", "prompt/", "reference", "control:", "wrong_"):
            assert secret not in script
        assert str(made.folder.parent) not in plain
        data = page_data(text)
        items = [item for page in data["pages"] for item in page["items"]]
        assert all(re.fullmatch(r"[0-9a-f]{12}", item) for item in items)
        for item in items:
            sound = re.search(rf'id="sound-{item}">([^<]*)<', text)
            assert sound is not None and base64.b64decode(sound[1]) == made.sound(item).read_bytes()


def test_clips_of_a_prompt_are_equally_long(tmp_path: Path) -> None:
    parts = {NAMES[0]: {"length": 1.25}, NAMES[1]: {"start": 0.5, "length": 1.5}}
    found = str(result(tmp_path, seconds=2.0, clips=parts).path)
    whole, cut = (study(tmp_path / f"{s}", [found], seconds=s).study.facts["items"].values() for s in (9.0, 1.0))
    assert {item["seconds"] for item in whole} == {1.25}
    assert {item["seconds"] for item in cut} == {1.0}


def test_quality_shows_no_caption_and_melody_plays_the_melody(tmp_path: Path) -> None:
    found = str(result(tmp_path, melodies=True).path)
    quality = study(tmp_path / "a", [found], axis="quality").study
    assert "waltz" not in quality.page("r01").read_text("utf-8")
    melody = study(tmp_path / "b", [found], axis="melody").study
    text = melody.page("r01").read_text("utf-8")
    for page in page_data(text)["pages"]:
        assert "caption" not in page and f'id="sound-{page["melody"]}"' in text


def test_a_translation_is_shown_where_every_system_was_given_it(tmp_path: Path) -> None:
    told = [f"вальс </script><b>{i}</b>" for i in range(4)]
    one, other = (result(tmp_path / name, references=False, translations=told) for name in "ab")
    english = result(tmp_path / "c", references=False)
    both = study(tmp_path / "both", [str(one.path), str(other.path)]).study
    pages = page_data(both.page("r01").read_text("utf-8"))["pages"]
    assert {page["translation"] for page in pages} <= {*told} and len(pages) == 3
    for page in yaml.safe_load(exported(both, tmp_path / "out"))["pages"][2:-1]:
        assert "<p>вальс &lt;/script&gt;&lt;b&gt;" in page["content"]
    mixed = study(tmp_path / "mixed", [str(one.path), str(english.path)]).study
    assert "вальс" not in mixed.page("r01").read_text("utf-8")
    quality = study(tmp_path / "quality", [str(one.path)], axis="quality").study
    assert "вальс" not in quality.page("r01").read_text("utf-8")


def exported(made: Study, folder: Path) -> str:
    """The first configuration of webMUSHRA."""
    export(made, folder)
    return next((folder / "configs").glob("*.yaml")).read_text("utf-8")


def test_the_same_seed_asks_about_the_same_prompts_in_the_same_order(tmp_path: Path) -> None:
    found = str(result(tmp_path, prompts=9).path)

    def order(folder: str, seed: int) -> Any:
        facts = study(tmp_path / folder, [found], seed=seed).study.facts
        return {
            name: [
                [(facts["items"][item]["prompt"], facts["items"][item]["system"]) for item in page]
                for page in one["pages"]
            ]
            for name, one in facts["sessions"].items()
        }

    first = order("a", 0)
    assert first == order("b", 0) != order("c", 1)


def test_one_row_of_a_result_is_chosen_by_its_name(tmp_path: Path) -> None:
    found = result(tmp_path)
    one = study(tmp_path, [f"{found.path}::{NAMES[1]}"], control=False, reference=False, axis="quality").study
    assert list(one.facts["systems"]) == [NAMES[1]]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"axis": "melody"}, "have no melodies"),
        ({"prompts": 9}, "--prompts 9: only 4 have a usable clip of every system"),
        ({"raters": 2, "votes": 5}, "2 raters of 25 minutes are too few for 3 prompts of 4 systems: give --raters 5"),
        ({"minutes": 0.1}, "--minutes 0.1 are too few for one page"),
        ({"method": "pairs", "reference": False, "control": False, "row": NAMES[0]}, "pairs need two systems"),
    ],
)
def test_what_cannot_be_made_is_one_line(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    found = result(tmp_path).path
    row = asked.pop("row", "")
    with pytest.raises(EvalkitError, match=said) as error:
        study(tmp_path, [f"{found}::{row}" if row else str(found)], **asked)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("method", ["rating", "pairs"])
@pytest.mark.parametrize("raters", [5, 12, 40])
def test_raters_hear_of_as_many_prompts_as_they_have_time_for(method: str, raters: int) -> None:
    asked = Asked("quality", method, raters=raters)
    prompts, many, plan = sized(asked, 4, 5521, 10.0)
    pages = asked.pages(4, 10.0)
    assert many == raters and plan.raters(pages) <= raters < asked.plan(4, prompts + 1, 5).raters(pages)
    few, _, more = sized(replace(asked, prompts=3), 4, 5521, 10.0)
    assert few == 3 and (min(more.blocks) > min(plan.blocks) or raters == 5)  # time that is left gives more votes


@pytest.mark.parametrize(
    ("method", "systems", "asked", "said"),
    [
        ("rating", 10, {"raters": 6}, "1 prompt of 10 systems: give --raters 7 or --votes 4 or --on-a-page 10"),
        ("rating", 4, {"raters": 4}, "1 prompt of 4 systems: give --raters 5 or --votes 4"),
        ("rating", 4, {"raters": 3, "votes": 2, "prompts": 40},
         "40 prompts of 4 systems: give at most --prompts 28 or --raters 5 or more --minutes or --votes 1"),
        ("pairs", 6, {"raters": 4}, "1 prompt of 6 systems: give --raters 5 or --votes 4"),
    ],
)  # fmt: skip
def test_each_way_out_of_too_few_raters_is_one(method: Any, systems: int, asked: dict[str, Any], said: str) -> None:
    first = Asked("quality", method, **asked)
    with pytest.raises(EvalkitError, match="are too few for") as error:
        sized(first, systems, 90, 10.0)
    assert str(error.value).endswith(f"are too few for {said}")
    for way, number in re.findall(r"--(prompts|raters|votes|on-a-page) (\d+)", str(error.value)):
        prompts, raters, _ = sized(replace(first, **{way.replace("-", "_"): int(number)}), systems, 90, 10.0)
        assert prompts and raters


def test_practice_is_with_a_prompt_that_is_not_asked_about(tmp_path: Path) -> None:
    found = [str(result(tmp_path, seconds=0.5).path)]
    for prompts, asked, said in ((None, 3, ""), (4, 4, "no prompt is left for practice")):
        made = study(tmp_path / str(prompts), found, prompts=prompts)
        facts = made.study.facts
        assert len(facts["prompts"]) == asked and (facts["practice"]["prompt"] in facts["prompts"]) == bool(said)
        assert any(note.startswith(said) and note.endswith("--prompts 3 leaves one") for note in made.notes) == bool(
            said
        )


def test_prompts_whose_clips_are_not_all_there_are_not_asked_about(tmp_path: Path) -> None:
    found = result(tmp_path)
    (tmp_path / "clips" / "1-2.wav").unlink()
    tone(tmp_path / "clips" / "0-1.wav", "another one")
    with pytest.raises(EvalkitError, match="of 3 prompts only 2 have clips that are as they were measured"):
        study(tmp_path, [str(found.path)], prompts=3)
    facts = study(tmp_path, [str(found.path)], prompts=2).study.facts
    assert set(facts["prompts"]) == {"prompt/0", "prompt/3"}


def test_the_command_says_what_it_made_and_overwrites_nothing(evalkit: Run, tmp_path: Path) -> None:
    found = result(tmp_path / "x")
    call = ["listen", "make", str(found.path), "--axis", "quality", "--method", "pairs", "--prompts", "2"]
    code, out, err = evalkit(*call)
    assert (code, err) == (0, "")
    folder = found.path / "listening-quality"
    assert (
        f"2 prompts × 4 systems ({NAMES[0]}; {NAMES[1]}; reference; control: noise), each heard at least 6 times" in out
    )
    assert out.endswith(f"study: {folder}\n")
    assert Study.load(folder).pairs
    code, out, err = evalkit(*call)
    assert (code, out) == (2, "") and err == f"evalkit: --output {folder}: something is there: name a new folder\n"
    assert evalkit(*call[:4], "rhythm", *call[5:])[2].startswith("evalkit: unknown axis 'rhythm'")
    assert evalkit("listen", "mak")[2].startswith("evalkit: unknown action 'mak': did you mean 'make'?")


def test_surround_and_odd_rates_can_be_heard(tmp_path: Path) -> None:
    def surround(path: Path, system: int, prompt: int) -> None:
        soundfile.write(path, np.repeat(read(path).samples[:1].T, 6, axis=1), 15000)

    found = result(tmp_path, alter=surround)
    one = study(tmp_path, [str(found.path)]).study
    rates = {decoded(one.sound(item).read_bytes())[1] for item in one.facts["items"]}
    assert rates == {16000}
