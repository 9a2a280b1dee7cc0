"""Prompt sets: counts, selections, and every way a file can be wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.assets import assets_of
from evalkit.config import build, compose
from evalkit.errors import EvalkitError
from evalkit.instrumental import is_instrumental
from evalkit.models.synth.composer import read_caption
from evalkit.models.synth.synth import Synth
from evalkit.prompts.demo import Demo
from evalkit.prompts.musiccaps import MusicCaps
from evalkit.prompts.selection import narrow
from evalkit.prompts.synthetic import Synthetic
from evalkit.prompts.table import Table
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.types import Prompt, PromptSet
from tests.prompts.made import like_musiccaps, write_csv


def musiccaps_row(**changes: str) -> dict[str, str]:
    row = {"ytid": "-0Gj8-vB1q4", "start_s": "30", "end_s": "40", "aspect_list": "['jazz', 'no voices']"}
    return row | {"caption": "A song.", "is_balanced_subset": "False", "is_audioset_eval": "True"} | changes


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def real(shared_data: Path) -> str:
    return str(shared_data / "musiccaps-public.csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(like_musiccaps(tmp_path_factory.mktemp("made") / "musiccaps-public.csv"))


def table(path: Path, text: str | bytes, **options: Any) -> PromptSet:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Table(path=str(path), **options).load(Cache(path.parent / "cache"))


class TestMusicCaps:
    @pytest.mark.parametrize(
        ("subset", "count"), [("all", 5521), ("balanced", 1000), ("audioset_eval", 2858), ("instrumental", 2669)]
    )
    def test_counts_of_the_published_file(self, real: str, cache: Cache, subset: str, count: int) -> None:
        prompts = MusicCaps(path=real, subset=subset).load(cache)
        assert (len(prompts), prompts.total) == (count, 5521)
        assert (prompts.dataset, prompts.subset) == ("musiccaps", subset)
        assert prompts.sha256 == sha256_file(Path(real))
        assert {p.seconds for p in prompts.prompts} == {10.0}

    @pytest.mark.parametrize(
        ("subset", "count"), [("all", 1200), ("balanced", 300), ("audioset_eval", 600), ("instrumental", 800)]
    )
    def test_counts_of_a_made_file(self, made: str, cache: Cache, subset: str, count: int) -> None:
        prompts = MusicCaps(path=made, subset=subset).load(cache)
        assert (len(prompts), prompts.total) == (count, 1200)
        assert (prompts.dataset, prompts.subset) == ("musiccaps", subset)
        assert prompts.sha256 == sha256_file(Path(made))
        assert {p.seconds for p in prompts.prompts} == {10.0}

    def test_a_row_comes_through_unchanged(self, made: str, cache: Cache) -> None:
        prompt = MusicCaps(path=made, ids=["made_000003"]).load(cache).prompts[0]
        assert (prompt.id, prompt.start, prompt.seconds) == ("made_000003", 90.0, 10.0)
        assert prompt.text.startswith('A folk piece number 3, with "drums",\nsung by a woman and so on')
        assert prompt.tags == ("folk", "drums melody", "female vocal", "63 bpm")
        assert prompt.labels == ("Music", "Folk music", "Singing")

    def test_the_random_choice_of_the_published_file(self, real: str, cache: Cache) -> None:
        prompts = MusicCaps(path=real, subset="balanced", random=5).load(cache).prompts
        assert [p.id for p in prompts] == ["9ZAmdxKLnhs", "bqMgL5qmZ-k", "uF1KTW5rT-s", "xgwzTQ8vnso", "yPou7kokTgA"]

    def test_first_prompt(self, real: str, cache: Cache) -> None:
        prompt = MusicCaps(path=real, first=1).load(cache).prompts[0]
        assert (prompt.id, prompt.start, prompt.seconds) == ("-0Gj8-vB1q4", 30.0, 10.0)
        assert prompt.text.startswith("The low quality recording features a ballad song")
        assert prompt.tags[:2] == ("low quality", "sustained strings melody") and len(prompt.tags) == 7

    def test_a_random_choice_is_stable_in_file_order_and_nested(self, made: str, cache: Cache) -> None:
        def ids(**options: Any) -> list[str]:
            return [p.id for p in MusicCaps(path=made, subset="balanced", **options).load(cache).prompts]

        np.random.seed(1)
        few = ids(random=5)
        np.random.seed(2)
        assert few == ids(random=5) == ["made_000317", "made_000693", "made_000797", "made_000965", "made_001101"]
        everything, many = ids(), ids(random=100)
        assert [i for i in everything if i in set(many)] == many
        assert set(few) < set(many)
        assert ids(random=100, random_seed=1) != many
        assert ids(random=300) == everything

    def test_narrowing_goes_step_by_step(self, made: str, cache: Cache) -> None:
        prompts = MusicCaps(path=made, subset="balanced", aspects=["jazz", "Flute"], random=40, first=8).load(cache)
        assert len(prompts) == 8
        assert prompts.subset == "balanced, with jazz or Flute, random 40 (seed 0), first 8"
        assert all(any(w in t.lower() for t in p.tags for w in ("jazz", "flute")) for p in prompts.prompts)

    def test_a_folder_that_holds_the_file_will_do(self, tmp_path: Path, cache: Cache) -> None:
        write_csv(tmp_path / "musiccaps-public.csv", [musiccaps_row()])
        assert len(MusicCaps(path=str(tmp_path)).load(cache)) == 1

    def test_models_may_be_given_a_translation(self, made: str, tmp_path: Path, cache: Cache) -> None:
        rows = [{"ytid": f"made_{i:06d}", "caption": f"Песня номер {i}", "start_s": i} for i in range(1200)]
        (tmp_path / "data").mkdir()
        pd.DataFrame(rows).to_parquet(tmp_path / "data/train.parquet")
        english = MusicCaps(path=made, subset="balanced", first=3).load(cache)
        for translations in (str(tmp_path), str(tmp_path / "data/train.parquet")):
            russian = MusicCaps(path=made, translations=translations, language="ru", subset="balanced", first=3).load(
                cache
            )
            assert (russian.dataset, russian.subset) == ("musiccaps", "balanced, first 3")
            assert [p.given.text for p in russian.prompts] == ["Песня номер 1", "Песня номер 5", "Песня номер 9"]
            assert [replace(p, translation="", language="") for p in russian.prompts] == list(english.prompts)
            assert {p.language for p in russian.prompts} == {"ru"}

    def test_prompts_without_a_translation_are_left_out(self, made: str, tmp_path: Path, cache: Cache) -> None:
        table = write_csv(tmp_path / "x.csv", [{"ytid": "made_000005", "caption": "Ein Lied"}], ["ytid", "caption"])
        some = MusicCaps(path=made, translations=str(table), language="de").load(cache)
        assert ([p.id for p in some.prompts], some.subset) == (["made_000005"], "with a translation")
        write_csv(table, [{"ytid": "other", "caption": "Ein Lied"}], ["ytid", "caption"])
        with pytest.raises(EvalkitError, match=r"x\.csv' has a translation of none of the 1,200 prompts"):
            MusicCaps(path=made, translations=str(table), language="de").load(cache)
        with pytest.raises(EvalkitError, match=r"translations and prompts\.language belong together"):
            MusicCaps(path=made, translations=str(table))
        with pytest.raises(EvalkitError, match=r"prompts\.language is 'German', not a tag such as de"):
            MusicCaps(path=made, translations=str(table), language="German")

    def test_unknown_subset(self) -> None:
        with pytest.raises(EvalkitError, match="unknown subset 'balancd': did you mean 'balanced'"):
            MusicCaps(path="x.csv", subset="balancd")

    def test_empty_subset(self, tmp_path: Path, cache: Cache) -> None:
        path = write_csv(tmp_path / "x.csv", [musiccaps_row()])
        with pytest.raises(EvalkitError, match="no prompt is in the subset balanced"):
            MusicCaps(path=str(path), subset="balanced").load(cache)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"aspect_list": "['jazz'"}, "aspect_list is not a list of quoted words"),
            ({"aspect_list": "jazz"}, "aspect_list is not"),
            ({"aspect_list": ""}, "aspect_list is not"),
            ({"aspect_list": "[1, 2]"}, "aspect_list is not"),
            ({"aspect_list": "('jazz',)"}, "aspect_list is not"),
            ({"aspect_list": "__import__('os').getcwd()"}, "aspect_list is not"),
            ({"aspect_list": "[" * 5000}, "aspect_list is not"),
            ({"start_s": "soon"}, "start_s is 'soon', not a number"),
            ({"end_s": "nan"}, "end_s is 'nan', not a number"),
            ({"end_s": "30"}, "start_s=30 and end_s=30 are not a stretch"),
            ({"caption": "  "}, "caption is empty"),
            ({"ytid": ""}, "ytid '' is empty"),
            ({"is_balanced_subset": "maybe"}, "is_balanced_subset is 'maybe', not True or False"),
        ],
    )
    def test_a_bad_row_is_named(self, tmp_path: Path, cache: Cache, changes: dict[str, str], message: str) -> None:
        path = write_csv(
            tmp_path / "x.csv", [musiccaps_row(ytid="abcdefghijk", caption="two\nlines"), musiccaps_row(**changes)]
        )
        with pytest.raises(EvalkitError) as caught:
            MusicCaps(path=str(path), subset="balanced").load(cache)
        assert str(caught.value).startswith(f"'{path}' line 4: {message}")
        assert "\n" not in str(caught.value)

    def test_a_missing_column_is_named(self, tmp_path: Path, cache: Cache) -> None:
        path = write_csv(tmp_path / "x.csv", [{"ytid": "a", "caption": "b"}], ["ytid", "caption"])
        with pytest.raises(EvalkitError, match="has no column 'aspect_list': it has ytid, caption"):
            MusicCaps(path=str(path)).load(cache)

    def test_without_a_file(self, cache: Cache) -> None:
        with pytest.raises(EvalkitError, match=r"cannot read '.*/absent\.csv': No such file"):
            MusicCaps(path="absent.csv").load(cache)
        with pytest.raises(EvalkitError, match=r"prompts\.path is not set"):
            MusicCaps()


class TestInstrumental:
    @pytest.mark.parametrize(
        "aspect",
        [
            "male vocal", "Vocals", "female voice like sound", "male voiceover", "passionate singing",
            "opera singer", "people singing", "folk singers", "rap", "rap-like singing", "slow rap chants",
            "male rapper", "choral harmony", "choir", "beat boxing", "beatboxing", "beat-boxer", "yodelling",
            "humming melody", "low pitched humming", "people talking", "instructive speaking", "speech sounds",
            "narration", "male screaming", "shouting", "acapella", "a cappella", "incoherent lyrics",
            "foreign language", "chopped vocal sample", "vocoder", "male falsetto", "ad-libs",
            "instrumental with vocals", "no percussion/male vocal", "crowd chattering", "vocalisation",
        ],
    )  # fmt: skip
    def test_a_voice(self, aspect: str) -> None:
        assert not is_instrumental(["instrumental", aspect])

    @pytest.mark.parametrize(
        "aspect",
        [
            "instrumental", "no voice", "no voices", "no vocals", "no singer", "No lyrics", "no vocal melody",
            "without vocals", "without any singing", "tibetan singing bowls", "glass-bowl singing",
            "birds singing", "trap beat", "chorus effect", "chorus pedal", "single instrument", "amusing",
            "humming noise", "low frequency humming tone", "electric hum", "rapid melody", "sampled trumpets",
            "tube screamer pedal", "announcement", "lyrical melody", "vocabulary expansion", "crowd cheering",
            "evil laughter", "opera hall", "alto saxophone", "left speaker", "school recital",
            "bagpipe chanter",
        ],
    )  # fmt: skip
    def test_no_voice(self, aspect: str) -> None:
        assert is_instrumental([aspect])

    def test_one_voice_is_enough(self) -> None:
        assert not is_instrumental(["no voices", "people talking"])


class TestTable:
    def test_captions_come_through_unchanged(self, tmp_path: Path) -> None:
        captions = [
            'He said "play, now"',
            "two\nlines\r\nthree",
            "🎹 <b>ré</b> &amp; \u202e",
            "x" * 10_000,
            "=1+1",
            "null and void",
        ]
        rows = [{"id": f"p{i}", "text": caption} for i, caption in enumerate(captions)]
        of_csv = Table(path=str(write_csv(tmp_path / "x.csv", rows, ["id", "text"]))).load(Cache(tmp_path))
        lines = "\n".join(json.dumps(row) for row in rows)
        of_jsonl = table(tmp_path / "x.jsonl", lines + "\n\n")
        for prompts in (of_csv, of_jsonl):
            assert [p.text for p in prompts.prompts] == captions
            assert (prompts.dataset, prompts.subset, prompts.total) == ("x", "all", 6)

    def test_other_columns_and_their_aliases(self, tmp_path: Path) -> None:
        (tmp_path / "m.wav").touch()
        (tmp_path / "c.wav").touch()
        text = (
            "ytid,caption,tags,reference,melody,continuation\na, A ,jazz; slow,sub/a.wav,m.wav,\n"
            f'b,B,"[""x;y""]",{tmp_path}/b.wav,,{tmp_path}/c.wav\n'
        )
        first, second = table(tmp_path / "x.CSV", "\ufeff" + text, dataset="mine").prompts
        assert (first.text, first.tags, first.seconds, first.start) == ("A", ("jazz", "slow"), None, None)
        assert (first.reference, first.melody) == (tmp_path / "sub/a.wav", tmp_path / "m.wav")
        assert (second.reference, second.melody, second.tags) == (tmp_path / "b.wav", None, ("x;y",))
        assert (first.continuation, second.continuation) == (None, tmp_path / "c.wav")

    def test_columns_of_what_belongs_together_and_of_translations(self, tmp_path: Path) -> None:
        rows = ["a,A drum.,,,EN", "a-de,A drum.,a,Eine Trommel.,de", "a-br,A drum.,a,Um tambor.,pt-BR"]
        text = "\n".join(["id,text,cluster,translation,language", *rows])
        english, german, brazilian = table(tmp_path / "x.csv", text).prompts
        assert [p.language for p in (english, german, brazilian)] == ["en", "de", "pt-BR"]
        assert {p.unit for p in (english, german, brazilian)} == {"a"} and {p.text for p in (german, english)} == {
            "A drum."
        }
        assert (english.given.text, german.given.text) == ("A drum.", "Eine Trommel.")
        some = table(tmp_path / "x.csv", text, languages=["PT", "de"])
        assert ([p.id for p in some.prompts], some.subset) == (["a-de", "a-br"], "in PT or de")
        with pytest.raises(EvalkitError, match="unknown language 'p': available: de, en, pt-BR"):
            table(tmp_path / "x.csv", text, languages=["p"])
        with pytest.raises(EvalkitError, match="'de': no prompt says which language it is in"):
            table(tmp_path / "x.csv", "id,text\na,b\n", languages=["de"])

    def test_tsv_and_json_values(self, tmp_path: Path) -> None:
        (prompt,) = table(tmp_path / "x.tsv", "id\ttext\n1\ta, b\n").prompts
        assert (prompt.id, prompt.text) == ("1", "a, b")
        (prompt,) = table(
            tmp_path / "x.jsonl", '{"id": 1, "text": "a\u2028b", "tags": ["jazz"], "reference": null}'
        ).prompts
        assert (prompt.id, prompt.text, prompt.tags, prompt.reference) == ("1", "a\u2028b", ("jazz",), None)
        (prompt,) = table(tmp_path / "x.csv", 'id,text,labels\na,b,"Piano; Violin, fiddle"\n').prompts
        assert prompt.labels == ("Piano", "Violin, fiddle")

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("x.csv", "id,name\na,b\n", "has no column 'text' or 'caption': it has id, name"),
            ("x.csv", "text\nb\n", "has no column 'id' or 'ytid': it has text"),
            ("x.csv", "id;text\na;b\n", "has no column 'id' or 'ytid': it has id;text"),
            ("x.csv", "", "has no rows"),
            ("x.csv", "id,text\n", "has no rows"),
            ("x.csv", "id,text,text\na,b,c\n", "has two columns 'text'"),
            ("x.csv", b"id,text\na,\xff\xfe\n", "is not text in UTF-8 (byte 10)"),
            ("x.csv", b"PK\x03\x04\x80\x81", "is not text in UTF-8"),
            ("x.csv", "id,text\na,b,c\n", "line 2: 3 fields where the header has 2"),
            ("x.csv", "id,text\na\n", "line 2: 1 fields where the header has 2"),
            ("x.csv", 'id,text\na,"b\nc\n', "line 2: not CSV (unexpected end of data)"),
            ("x.csv", 'id,text\na,"b"c"\n', "line 2: not CSV"),
            ("x.csv", "id,text\na,b\n\na,c\n", "line 4: id 'a' is also in"),
            ("x.csv", "id,text\na,\n", "line 2: text is empty"),
            ("x.csv", "id,text\na,NaN\n", "line 2: text is 'NaN'"),
            ("x.csv", "id,text\na,None\n", "line 2: text is 'None'"),
            ("x.csv", "id,text\n,b\n", "line 2: id '' is empty"),
            ("x.csv", "id,text\n..,b\n", "line 2: id '..' is a folder's name"),
            ("x.csv", "id,text\n.,b\n", "line 2: id '.' is a folder's name"),
            ("x.csv", "id,text\n../../etc/passwd,b\n", "line 2: id '../../etc/passwd' holds a slash"),
            ("x.csv", "id,text\nC:\\x,b\n", "holds a slash"),
            ("x.csv", "id,text\na\0b,b\n", "line 2: id 'a\\x00b' holds a control character"),
            ("x.csv", "id,text\na\x1b[2Jb,b\n", "holds a control character"),
            ("x.csv", f"id,text\n{'a' * 129},b\n", "has 129 characters: 128 are the most"),
            ("x.csv", "id,text,tags\na,b,[1]\n", "line 2: tags is neither"),
            ("x.csv", "id,text,labels\na,b,[1]\n", "line 2: labels is neither"),
            ("x.csv", "id,text,labels\na,b,Piano;Musik of Africa\n", "AudioSet: did you mean 'Music of Africa'?"),
            ("x.jsonl", '{"id": "a", "text": "b", "labels": ["qqqq"]}', "no class of AudioSet: give names such as"),
            ("x.csv", "id,text,language\na,b,German\n", "line 2: language is 'German', not a tag such as de"),
            ("x.csv", "id,text,translation\na,b,nan\n", "line 2: translation is 'nan': leave it empty"),
            ("x.csv", "id,text,translation\na,b,c\x1b[2J\n", "line 2: translation holds the control character"),
            ("x.csv", "id,text,cluster\na,b,../c\n", "line 2: cluster '../c' holds a slash"),
            ("x.csv", "id,text,tags\na,b,[jazz]\n", "line 2: tags is neither"),
            ("x.csv", "id,text,melody\na,b,none.wav\n", "the melody of 'a' does not exist: '"),
            ("x.csv", "id,text,continuation\na,b,.\n", "the continuation of 'a' does not exist: '"),
            ("x.jsonl", '{"id": "a", "text": "b"}\n[1]\n', "line 2: not a JSON object"),
            ("x.jsonl", '{"id": "a", "text": "b"}\n{"id":\n', "line 2: not JSON ("),
            ("x.jsonl", "[" * 100_000, "line 1: not JSON ("),
            ("x.jsonl", '{"id": "a", "text": null}', "line 1: text is empty"),
            ("x.jsonl", '{"id": "a", "text": NaN}', "line 1: text is empty"),
            ("x.jsonl", '{"id": "a"}\n{"id": "b", "text": "c"}', "line 1: text is empty"),
            ("x.jsonl", '{"id": "a", "text": ["b"]}', "line 1: text is ['b'], not text"),
            ("x.jsonl", '{"id": true, "text": "b"}', "line 1: id is True, not text"),
            ("x.jsonl", '{"id": "a", "text": "\\ud800"}', "line 1: text holds half a character"),
            ("x.jsonl", '{"id": "a", "text": "b", "tags": {"c": 1}}', "tags is {'c': 1}, not text"),
            ("x.parquet", "id,text\na,b\n", "is not a table: its name must end in .csv, .tsv, .jsonl"),
        ],
    )  # fmt: skip
    def test_a_bad_file_is_one_clear_line(self, tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
        with pytest.raises(EvalkitError) as caught:
            table(tmp_path / name, text)
        assert message in str(caught.value) and str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)

    def test_a_missing_file_a_folder_and_no_path(self, tmp_path: Path, cache: Cache) -> None:
        with pytest.raises(EvalkitError, match=r"cannot read '.*absent\.csv': No such file"):
            Table(path=str(tmp_path / "absent.csv")).load(cache)
        (tmp_path / "folder.csv").mkdir()
        with pytest.raises(EvalkitError, match=r"cannot read '.*folder\.csv': Is a directory"):
            Table(path=str(tmp_path / "folder.csv")).load(cache)
        with pytest.raises(EvalkitError, match=r"prompts\.path is not set"):
            Table()

    def test_ids_of_128_characters_and_odd_ones_are_fine(self, tmp_path: Path) -> None:
        ids = ["a" * 128, "-x", "_", "ünïcode 🎹", "...", "a.b"]
        assert [p.id for p in table(tmp_path / "x.csv", "id,text\n" + "".join(f"{i},b\n" for i in ids)).prompts] == ids


class TestNarrowing:
    PROMPTS = tuple(
        Prompt(f"p{i}", "t", tags=("Trap beat", "slow") if i % 2 else ("rap", "jazz-rock")) for i in range(10)
    )

    @pytest.mark.parametrize(
        ("options", "ids"),
        [
            ({"aspects": ["RAP"]}, "02468"),
            ({"aspects": "trap"}, "13579"),
            ({"aspects": ["trap beat", "jazz"]}, "0123456789"),
            ({"aspects": ["jazz-rock"], "first": 2}, "02"),
            ({"ids": ["p7", "p1", "p7"]}, "17"),
            ({"ids": ["p7", "p1"], "first": 1}, "1"),
            ({"first": 10}, "0123456789"),
            ({"aspects": [], "ids": []}, "0123456789"),
        ],
    )
    def test_kept(self, options: dict[str, Any], ids: str) -> None:
        assert "".join(p.id[1:] for p in narrow(self.PROMPTS, **options)[0]) == ids

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"first": 11}, "prompts.first=11: must be between 1 and 10"),
            ({"random": 11}, "prompts.random=11: must be between 1 and 10"),
            ({"aspects": ["rap"], "random": 5, "first": 6}, "prompts.first=6: must be between 1 and 5"),
            ({"aspects": ["polka"]}, "no prompt is with polka"),
            ({"aspects": ["a+b("]}, r"no prompt is with a+b("),
            ({"aspects": [" "]}, "one of the words is empty"),
            ({"ids": ["p1", "p77"]}, "'p77' is not among the 10 prompts to choose from: did you mean 'p7'?"),
            ({"aspects": ["rap"], "ids": ["p1"]}, "'p1' is not among the 5 prompts"),
        ],
    )  # fmt: skip
    def test_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(EvalkitError) as caught:
            narrow(self.PROMPTS, **options)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"first": 0}, "prompts.first=0: must be at least 1"),
            ({"random": -3}, "prompts.random=-3: must be at least 1"),
            ({"first": 2.5}, "prompts.first=2.5: must be a whole number"),
            ({"first": True}, "prompts.first=True: must be a whole number"),
            ({"random": "many"}, "prompts.random=many: must be a whole number"),
            ({"random_seed": None}, "prompts.random_seed=None: must be a whole number"),
            ({"cut": "middle"}, "unknown prompts.cut 'middle'"),
            ({"max_seconds": 0.5}, "prompts.max_seconds=0.5: must be at least 1"),
        ],
    )
    def test_refused_before_anything_is_read(self, options: dict[str, Any], message: str) -> None:
        for component in (MusicCaps, Table):
            with pytest.raises(EvalkitError) as caught:
                component(path="absent.csv", **options)
            assert message in str(caught.value)


def prompts_node(*options: str) -> Any:
    return compose(["model=tiny_stereo", "metric=[]", "~protocol", *options]).prompts  # no other group matters


class TestConfiguration:
    @pytest.mark.parametrize(
        ("name", "subset"),
        [
            ("musiccaps", "all"), ("musiccaps_balanced", "balanced"), ("musiccaps_audioset_eval", "audioset_eval"),
            ("musiccaps_instrumental", "instrumental"),
        ],
    )  # fmt: skip
    def test_musiccaps(self, name: str, subset: str) -> None:
        prompts = build(prompts_node(f"prompts={name}"))
        assert (prompts.subset, prompts.dataset, prompts.cut, prompts.max_seconds) == (subset, "musiccaps", "end", 21.0)
        assert prompts.source.repo == "google/MusicCaps" and prompts.source.licence == "CC-BY-SA-4.0"

    def test_a_local_file_goes_before_the_published_one(self) -> None:
        prompts = build(prompts_node("prompts=musiccaps", "prompts.path=/x.csv"))
        assert (prompts.path, list(assets_of(prompts))) == ("/x.csv", [])

    def test_options_as_they_are_typed(self, made: str, cache: Cache) -> None:
        options = [
            "prompts=musiccaps",
            f"prompts.path={made}",
            "prompts.ids=[made_000700,made_000012]",
            "prompts.first=2",
        ]
        prompts = build(prompts_node(*options)).load(cache)
        assert [p.id for p in prompts.prompts] == ["made_000012", "made_000700"]
        assert prompts.subset == "2 by id, first 2"

    def test_ids_that_look_like_numbers(self, tmp_path: Path, cache: Cache) -> None:
        path = tmp_path / "x.csv"
        path.write_text("id,text\n17,a\n18,b\n")
        for ids in ("[18]", "18"):
            node = prompts_node("prompts=table", f"prompts.path={path}", f"prompts.ids={ids}")
            assert [p.id for p in build(node).load(cache).prompts] == ["18"]

    def test_demo(self, cache: Cache) -> None:
        prompts = Demo().load(cache)
        assert prompts.dataset == "demo" and prompts.subset == "all" and len(prompts) == prompts.total >= 8
        assert prompts_node("prompts=demo").references._target_ == "evalkit.models.synth.synth.Synth"

    def test_importing_is_cheap(self) -> None:
        code = "import sys, evalkit.prompts; print(sorted({'torch', 'pandas', 'hydra'} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("place", ["caption", "tag"])
@pytest.mark.parametrize("control", ["\x1b[2J", "\x07", "\x00", "\x9b31m"])
def test_control_characters_are_refused_with_their_row(tmp_path: Path, control: str, place: str) -> None:
    bad = {"caption": "A song." if place == "tag" else f"A{control} song."}
    rows = [
        json.dumps({"id": "x", "text": "two\r\n\tlines", "tags": ["jazz"]}),
        json.dumps({"id": "y", "text": bad["caption"], "tags": ["a", f"b{control}" if place == "tag" else "b"]}),
    ]
    column = "tags" if place == "tag" else "text"
    with pytest.raises(EvalkitError, match=rf"line 2: {column} holds the control character '\\x..': remove it"):
        table(tmp_path / "prompts.jsonl", "\n".join(rows))
    table(tmp_path / "prompts.jsonl", rows[0])


class TestSynthetic:
    def test_fewer_are_the_beginning_of_more(self, cache: Cache) -> None:
        few, many = Synthetic(count=30).load(cache), Synthetic(count=300).load(cache)
        assert many.prompts[:30] == few.prompts and many.total == 300 and few.sha256 != many.sha256
        assert len({prompt.text for prompt in many.prompts}) == len({prompt.id for prompt in many.prompts}) == 300
        assert Synthetic(count=300, first=30).load(cache).prompts == few.prompts

    def test_captions_say_what_the_synthesizer_plays(self, cache: Cache) -> None:
        for prompt in Synthetic(count=300).load(cache).prompts:
            *instruments, _ = prompt.tags
            piece = read_caption(prompt.text)
            assert list(piece.instruments) == ["voice" if name == "choir" else name for name in instruments]
            bpm, mode = re.search(r"at (\d+) bpm in [A-G](?: flat| sharp)? (major|minor),", prompt.text).groups()  # type: ignore[union-attr]
            assert (piece.tempo, piece.minor) == (float(bpm), mode == "minor")

    def test_groups_are_of_like_size(self, cache: Cache) -> None:
        prompts = Synthetic().load(cache).prompts
        sizes = Counter(tag for prompt in prompts for tag in prompt.tags)
        assert len(prompts) == 200 and min(sizes.values()) >= 20

    def test_the_yaml_says_the_defaults(self) -> None:
        built = build(compose(["prompts=synthetic", "model=synth"]).prompts)
        assert built == Synthetic(references=Synth())

    @pytest.mark.parametrize("count", [0, 10_001, 1.5, "many", None])
    def test_a_count_that_cannot_be(self, count: Any) -> None:
        with pytest.raises(EvalkitError, match=rf"prompts.count={count}: must be a whole number from 1 to 10,000"):
            Synthetic(count=count)


@pytest.mark.parametrize(
    ("column", "meant"),
    [("lang", "language"), ("Translations", "translation"), ("label", "labels"), ("clusters", "cluster"), ("url", "")]
    + [(name, "") for name in ("duration", "location", "annotation", "title", "genre", "start_s", "caption")],
)
def test_a_column_that_is_not_read_is_told_where_its_name_resembles_one_that_would_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, meant: str
) -> None:
    path = write_csv(tmp_path / "x.csv", [{"id": "a", "text": "x", column: "y"}], ["id", "text", column])
    Table(path=str(path)).load(Cache(tmp_path))
    said = [f"'{path}': the column '{column}' is not read: did you mean '{meant}'?"] if meant else []
    assert [record.getMessage() for record in caplog.records] == said


def test_a_column_beside_the_one_that_its_name_resembles_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"id": "a", "text": "x", "language": "de", "languages": "de, ru"}
    Table(path=str(write_csv(tmp_path / "x.csv", [row], list(row)))).load(Cache(tmp_path))
    assert not caplog.records
