"""The captions in nine languages that come with evalkit: what is in the file, and how it is narrowed."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import soundfile

from evalkit.audioset import classes
from evalkit.config import build, compose
from evalkit.errors import EvalkitError
from evalkit.instrumental import asks_for_no_voice, is_instrumental
from evalkit.prompts.languages import Languages
from evalkit.prompts.references import find_references
from evalkit.slices.caption_kind import CaptionKind
from evalkit.slices.region import NONE, Region
from evalkit.store.cache import Cache
from evalkit.types import Prompt

ORDER = ["en", "de", "fr", "es", "pt", "ru", "zh", "ja", "hi"]
SCRIPTS = {
    **{tag: {"LATIN"} for tag in ("de", "fr", "es", "pt")}, "ru": {"CYRILLIC"}, "zh": {"CJK"},
    "ja": {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"}, "hi": {"DEVANAGARI"},
}  # fmt: skip
# marks that a language has and no other here, of which most of its captions have one
OWN = {"de": "äöüß", "fr": "éèêàùâîôç", "es": "áéíóúñ", "pt": "ãõçáéíóúâê"}
# what stays in Latin letters elsewhere too
KEPT = re.compile(r"\bBPM\b")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def every(cache: Cache) -> list[Prompt]:
    return list(Languages().load(cache).prompts)


@pytest.fixture(scope="module")
def english(every: list[Prompt]) -> list[Prompt]:
    return [prompt for prompt in every if prompt.language == "en"]


class TestFile:
    def test_sixty_captions_in_nine_languages(self, cache: Cache, every: list[Prompt]) -> None:
        found = Languages().load(cache)
        assert (found.dataset, found.subset, found.total, len(every)) == ("languages", "all", 540, 540)
        captions = list(dict.fromkeys(prompt.cluster for prompt in every))
        assert len(captions) == 60
        assert [prompt.id for prompt in every] == [f"{name}.{tag}" for name in captions for tag in ORDER]
        assert [prompt.language for prompt in every] == ORDER * 60

    def test_the_rows_of_a_caption_differ_in_nothing_but_the_language(self, every: list[Prompt]) -> None:
        for i in range(0, len(every), len(ORDER)):
            same = {dataclasses.replace(prompt, id="", language="", translation="") for prompt in every[i : i + 9]}
            assert len(same) == 1, every[i].cluster

    def test_every_caption_is_translated_and_no_two_are_the_same(self, every: list[Prompt]) -> None:
        for language in ORDER:
            given = [prompt.given.text for prompt in every if prompt.language == language]
            assert len(set(given)) == 60
        for prompt in every:
            assert bool(prompt.translation) == (prompt.language != "en"), prompt.id
        assert max(Counter(prompt.given.text for prompt in every).values()) == 1

    @pytest.mark.parametrize("language", ORDER[1:])
    def test_translations_are_in_the_script_of_their_language(self, every: list[Prompt], language: str) -> None:
        marked = 0
        for prompt in (p for p in every if p.language == language):
            text = KEPT.sub("", prompt.translation)
            scripts = {unicodedata.name(c).split(" ")[0] for c in text if unicodedata.category(c).startswith("L")}
            assert scripts <= SCRIPTS[language] and scripts, f"{prompt.id}: {scripts}"
            assert unicodedata.normalize("NFC", text) == text or language == "hi", prompt.id
            assert text == " ".join(text.split()), prompt.id
            marked += any(c in text.casefold() for c in OWN.get(language, text.casefold()))
        assert marked > 30

    def test_japanese_is_told_from_chinese_by_its_kana(self, every: list[Prompt]) -> None:
        for prompt in every:
            if prompt.language == "ja":
                assert any(
                    "HIRAGANA" in unicodedata.name(c) or "KATAKANA" in unicodedata.name(c) for c in prompt.translation
                )

    def test_sentences_end_and_lists_do_not(self, every: list[Prompt]) -> None:
        """With the marks of their own script, which no half-width one is among."""
        ends = {"zh": "。", "ja": "。", "hi": "।"}
        commas = {"zh": "，", "ja": "、"}
        for prompt in every:
            text, comma = prompt.given.text, commas.get(prompt.language, ",")
            if prompt.text.endswith("."):
                assert text.endswith(ends.get(prompt.language, ".")), prompt.id
            else:
                assert text[-1].isalpha() or unicodedata.category(text[-1]).startswith("M"), prompt.id
                assert text.count(comma) == prompt.text.count(","), prompt.id
            if prompt.language in ("zh", "ja"):
                assert not set(text) & set(",.;:!?()"), prompt.id
            if prompt.language == "hi":
                assert "." not in text, prompt.id

    def test_numbers_are_kept(self, every: list[Prompt]) -> None:
        for prompt in every:
            wanted = re.findall(r"\d{2,}", prompt.text)
            assert re.findall(r"\d{2,}", prompt.given.text) == wanted, prompt.id

    def test_english_captions_are_short(self, english: list[Prompt]) -> None:
        lengths = [len(prompt.text.split()) for prompt in english]
        assert 8 <= min(lengths) <= 13 and 20 <= max(lengths) <= 25

    def test_labels_are_classes_of_audioset(self, english: list[Prompt]) -> None:
        assert {label for prompt in english for label in prompt.labels} <= set(classes().values())
        assert all(len(set(prompt.labels)) == len(prompt.labels) > 0 for prompt in english)


class TestBalance:
    def test_two_in_five_are_music_of_a_named_region(self, english: list[Prompt]) -> None:
        groups = Counter(group for prompt in english for group in Region().groups_of(prompt))
        regions = dict.fromkeys(["Africa", "Asia", "Latin America", "Middle East"], 6)
        assert groups == {**regions, "Europe": 1, NONE: 35}

    def test_tags_and_labels_name_the_same_regions(self, english: list[Prompt]) -> None:
        for prompt in english:
            by_label = Region().groups_of(dataclasses.replace(prompt, tags=("x",)))
            by_words = Region().groups_of(dataclasses.replace(prompt, tags=(), labels=()))
            assert by_label == Region().groups_of(prompt)
            assert by_words in (by_label, [NONE]), prompt.id

    def test_a_third_ask_for_a_voice_in_tags_and_caption_alike(self, english: list[Prompt]) -> None:
        assert sum(is_instrumental(prompt.tags) for prompt in english) == 40
        for prompt in english:
            assert asks_for_no_voice(dataclasses.replace(prompt, tags=())) == is_instrumental(prompt.tags), prompt.id

    def test_a_voice_is_among_the_labels_where_it_is_asked_for(self, english: list[Prompt]) -> None:
        voices = {"Singing", "Male singing", "Female singing", "Child singing", "Choir", "Rapping", "Humming", "Chant"}
        for prompt in english:
            assert bool(voices & set(prompt.labels)) != is_instrumental(prompt.tags), prompt.id

    def test_kinds_of_captions(self, english: list[Prompt]) -> None:
        kinds = Counter(kind for prompt in english for kind in CaptionKind().groups_of(prompt))
        assert kinds == {"list of tags": 12, "several sentences": 12, "one sentence": 36}
        for prompt in english:
            assert (CaptionKind().groups_of(prompt) == ["list of tags"]) != prompt.text.endswith("."), prompt.id


class TestNarrowing:
    @pytest.mark.parametrize(
        ("options", "captions", "languages", "subset"),
        [
            ({"first": 2}, 2, ORDER, "first 2 of the captions"),
            ({"random": 7}, 7, ORDER, "random 7 (seed 0) of the captions"),
            ({"languages": ["hi", "de"]}, 60, ["de", "hi"], "in hi or de"),
            ({"languages": ["zh"], "first": 3}, 3, ["zh"], "in zh, first 3 of the captions"),
            ({"ids": ["jazz_trio", "oud_improvisation"]}, 2, ORDER, "18 by id"),
            ({"ids": "jazz_trio", "languages": ["en", "ja"]}, 1, ["en", "ja"], "in en or ja, 2 by id"),
            ({"ids": ["jazz_trio.ru", "bluegrass.ru"]}, 2, ["ru"], "2 by id"),
            ({"aspects": ["Bollywood"], "first": 1}, 1, ORDER, "with Bollywood, first 1 of the captions"),
        ],
    )
    def test_captions_stay_together(
        self, cache: Cache, options: dict[str, Any], captions: int, languages: list[str], subset: str
    ) -> None:
        found = Languages(**options).load(cache)
        names = list(dict.fromkeys(prompt.cluster for prompt in found.prompts))
        assert (len(names), found.subset, found.total) == (captions, subset, 540)
        assert [prompt.id for prompt in found.prompts] == [f"{name}.{tag}" for name in names for tag in languages]

    def test_the_random_choice_is_one_of_captions(self, cache: Cache, every: list[Prompt]) -> None:
        def names(**options: Any) -> set[str]:
            return {prompt.cluster for prompt in Languages(**options).load(cache).prompts}

        assert names(random=5) == names(random=5, languages=["ja"]) < names(random=20)
        assert names(random=5) != names(random=5, random_seed=1)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"first": 61}, "prompts.first=61: must be between 1 and 60"),
            ({"ids": ["jazz_tri"]}, "'jazz_tri' is not among the 540 prompts"),
            ({"languages": ["it"]}, "unknown language 'it'"),
            ({"first": 0}, "prompts.first=0: must be at least 1"),
        ],
    )
    def test_what_there_is_not(self, cache: Cache, options: dict[str, Any], message: str) -> None:
        with pytest.raises(EvalkitError, match=re.escape(message)):
            Languages(**options).load(cache)


def test_the_yaml_has_the_options(cache: Cache) -> None:
    options = ["prompts=languages", "prompts.languages=[de,pt]", "prompts.first=2", "model=tiny_stereo", "metric=[]"]
    built = build(compose([*options, "~protocol"]).prompts)
    assert [prompt.id for prompt in built.load(cache).prompts] == [
        "piano_ballad.de", "piano_ballad.pt", "afrobeat_horns.de", "afrobeat_horns.pt",
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["", "pairs.csv"])
def test_one_recording_is_the_reference_of_all_languages(tmp_path: Path, cache: Cache, place: str) -> None:
    for name in ("jazz_trio", "bluegrass"):
        soundfile.write(tmp_path / f"{name}.wav", [0.1, -0.1] * 8000, 8000)
    (tmp_path / "pairs.csv").write_text("id,path\njazz_trio,jazz_trio.wav\nbluegrass,bluegrass.wav\n")
    options = Languages(ids=["jazz_trio", "solo_cello", "bluegrass"], references=str(tmp_path / place))
    prompts = options.load(cache)
    for prompt, clip in zip(prompts.prompts, find_references(prompts, options, 10.0), strict=True):
        wanted = None if prompt.cluster == "solo_cello" else tmp_path / f"{prompt.cluster}.wav"
        assert (clip.id, clip.path, clip.ok) == (prompt.id, wanted, wanted is not None)


def test_a_folder_without_their_recordings_names_what_is_looked_for(tmp_path: Path, cache: Cache) -> None:
    soundfile.write(tmp_path / "other.wav", [0.1, -0.1] * 8000, 8000)
    options = Languages(references=str(tmp_path))
    with pytest.raises(EvalkitError, match=r"names such as 'piano_ballad\.en\.wav' or 'piano_ballad\.wav'"):
        find_references(options.load(cache), options, 10.0)
