"""Which prompts form which groups."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import evalkit
from evalkit.audioset import classes
from evalkit.config import compose
from evalkit.errors import EvalkitError
from evalkit.objects import described
from evalkit.plan import slices_of
from evalkit.prompts.musiccaps import MusicCaps
from evalkit.results.frames import PROMPTS as PROMPTS_FRAME
from evalkit.results.frames import prompts_of
from evalkit.results.result import Result
from evalkit.settings import conf_dir
from evalkit.slices import Group, Slice, groups, standard
from evalkit.slices.caption_length import CaptionLength
from evalkit.slices.label import Label
from evalkit.slices.region import LABELS as REGIONAL
from evalkit.slices.tag import Tag
from evalkit.store.cache import Cache
from evalkit.types import Prompt
from tests.prompts.made import like_musiccaps

PROMPTS = [
    Prompt("a", "word " * 25, tags=("Piano", "no voices"), labels=("Music", "Piano")),
    Prompt("b", "word " * 26, tags=("piano", "Piano", "male vocal"), labels=("Music",)),
    Prompt("c", "word " * 76, tags=("drums",)),
]


def slices(*asked: str) -> list[Slice]:
    """The entries of the option, built from the YAMLs of their kinds."""
    return slices_of(compose(["model=synth", "prompts=demo", f"slices=[{','.join(asked)}]"]))


def ids(found: list[Group]) -> dict[str, str]:
    return {group.name: "".join(sorted(group.ids)) for group in found}


def test_tags_and_labels_are_groups_the_largest_first() -> None:
    assert ids(groups(PROMPTS, slices("tag"))) == {"piano": "ab", "no voices": "a", "male vocal": "b", "drums": "c"}
    assert list(ids(groups(PROMPTS, slices("label"))).items()) == [("music", "ab"), ("piano", "a")]
    assert ids(groups(PROMPTS, slices("tag:Drums", "tag:drums"))) == {"drums": "c"}


def test_only_the_largest_of_many() -> None:
    many = [Prompt(str(i), "x", tags=tuple(f"t{j}" for j in range(i + 1))) for i in range(40)]
    found = groups(many, slices("tag"))
    assert [group.name for group in found] == [f"t{i}" for i in range(20)]
    assert len(found[0].ids) == 40
    for kind in (Tag(most=3), Label(most=3)):
        assert kind.order({"a": 1, "b": 2, "c": 1, "d": 5, "e": 1}) == ["d", "b", "a"]


def test_caption_length_and_voice() -> None:
    assert ids(groups(PROMPTS, slices("caption_length"))) == {
        "1 to 25 words": "a", "26 to 50 words": "b", "over 75 words": "c",
    }  # fmt: skip
    other = Slice("caption_length", "", CaptionLength([25]))
    assert ids(groups(PROMPTS, [other])) == {"1 to 25 words": "a", "over 25 words": "bc"}
    assert ids(groups(PROMPTS, slices("voice"))) == {"instrumental": "ac", "vocal": "b"}


def test_languages_are_those_that_prompts_say_english_first() -> None:
    told = [Prompt(code, "a flute", language=code) for code in ("de", "zh", "en", "")]
    assert list(ids(groups(told, slices("language")))) == ["en", "de", "zh"]
    assert ids(groups(told, slices("language:DE"))) == {"de": "de"}
    with pytest.raises(EvalkitError, match="no prompt has a language: leave 'language' out"):
        groups(PROMPTS, slices("language"))


def test_captions_are_lists_of_tags_or_sentences() -> None:
    lists = ["acid jazz, saxophone, 120 bpm", "Sad. Piano. Slow.", "rock | electric guitar | fast"]
    one = ["a slow flute", "A fast rock song, with an electric guitar that plays a long distorted solo over drums."]
    several = [
        "A flute plays. Nobody is heard to sing along with it.",
        "Who sings this song here? A choir of old men does.",
    ]
    for kind, texts in {"list of tags": lists, "one sentence": one, "several sentences": several}.items():
        for text in texts:
            assert list(ids(groups([Prompt("a", text)], slices("caption_kind")))) == [kind]


def test_regions_are_named_by_labels_and_words() -> None:
    def regions(text: str, *tags: str, labels: tuple[str, ...] = ()) -> list[str]:
        return list(ids(groups([Prompt("a", text, tags=tags, labels=labels)], slices("region"))))

    assert regions("x", labels=("Music", "Salsa music", "Afrobeat")) == ["Africa", "Latin America"]
    assert regions("x", "Middle-Eastern melody", "south  Indian") == ["Asia", "Middle East"]
    assert regions("A Celtic harp, and nothing African about it") == ["Africa", "Europe"]
    assert regions("an African song", "slow", labels=("Sitar", "Reggae")) == [
        "no region named"
    ]  # tags, where there are any
    for friend in ("latin percussion", "china cymbals", "tibetan singing bowls", "jamaican accent", "a chant in Latin"):
        assert regions("x", friend) == ["no region named"], friend
    assert regions("x", "latinate", "indiana", "thailand-free") == ["no region named"]


def test_every_regional_label_is_a_class_of_audioset() -> None:
    assert set(REGIONAL) <= set(classes().values())


def test_the_standard_slices_are_those_of_the_yamls() -> None:
    kinds = sorted(file.stem for file in (conf_dir() / "slice").glob("*.yaml"))
    assert described(standard(kinds)) == described(slices(*kinds)) and len(kinds) > 3
    assert ids(groups(PROMPTS, standard(["voice:Vocal", "tag:drums"]))) == {"vocal": "b", "drums": "c"}
    with pytest.raises(EvalkitError, match=r"unknown slice 'voices': did you mean 'voice'\? available: caption"):
        standard(["voices"])


def test_a_slice_of_which_no_prompt_is_can_be_left_out() -> None:
    asked = standard(["label", "tag:pianoo", "voice"])
    assert ids(groups(PROMPTS[2:], asked, missing_ok=True)) == {"instrumental": "c"}
    with pytest.raises(EvalkitError, match="no prompt has a label: leave 'label' out"):
        groups(PROMPTS[2:], asked)


def test_prompts_of_a_record_are_in_the_groups_of_the_run() -> None:
    rows = [(p.id, p.text, list(p.tags), list(p.labels)) for p in PROMPTS]
    again = prompts_of(pd.DataFrame(rows, columns=list(PROMPTS_FRAME)))
    asked = standard(["label", "tag", "voice", "caption_length"])
    assert again == PROMPTS and groups(again, asked) == groups(PROMPTS, asked)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(EvalkitError, match="unknown slice 'voices': did you mean 'voice'"):
        slices("voices")
    with pytest.raises(EvalkitError, match=r"slices=voice:instrumental: no single group of voice can be named"):
        slices("voice:instrumental")
    with pytest.raises(EvalkitError, match=r"slices=tag:: write tag:NAME"):
        slices("'tag:'")
    with pytest.raises(EvalkitError, match="no prompt has the tag 'pianoo': did you mean 'piano'"):
        groups(PROMPTS, slices("tag:pianoo"))
    with pytest.raises(EvalkitError, match="no prompt has a label: leave 'label' out"):
        groups(PROMPTS[2:], slices("label"))
    for kind in (Tag, Label):
        with pytest.raises(EvalkitError, match="most=0: must be at least 1"):
            kind(most=0)
    for limits in ([], [0, 5], [50, 25], [25, 25], [2.5]):
        with pytest.raises(EvalkitError, match="must be whole numbers of words that increase"):
            CaptionLength(limits)


def test_a_slice_is_not_taken_for_a_group_of_options() -> None:
    with pytest.raises(EvalkitError, match="no option 'slice': did you mean 'slices'"):
        compose(["model=synth", "prompts=demo", "slice=[tag]"])


OWN = """
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evalkit.types import Prompt


@dataclass(frozen=True)
class FirstLetter:
    upper: bool = False
    named: ClassVar[bool] = True

    def groups_of(self, prompt: Prompt) -> Sequence[str]:
        return [prompt.text[0].upper() if self.upper else prompt.text[0]]

    def order(self, sizes: Mapping[str, int]) -> Sequence[str]:
        return sorted(sizes)
"""


def test_a_kind_of_one_s_own_is_one_file_and_one_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_slices.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "slice").mkdir()
    (tmp_path / "slice" / "letter.yaml").write_text("_target_: own_slices.FirstLetter\nupper: true\n")
    (tmp_path / "slice" / "damaged.yaml").write_text("_target_: [")
    (tmp_path / "slice" / "other.yaml").write_text("_target_: evalkit.models.synth.synth.Synth\n")
    (tmp_path / "prompts.csv").write_text("id,text\n1,bells\n2,a piano\n3,Bass\n")
    base = ["model=synth", "prompts=table", f"prompts.path={tmp_path / 'prompts.csv'}", "metric=[silence]"]
    base += [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}", "sampling.duration=1"]

    def run(slices: str, *options: str) -> Result:
        return evalkit.evaluate(*base, f"slices=[{slices}]", *options, config_dir=str(tmp_path))

    with pytest.raises(EvalkitError, match="add its package to allow_targets"):
        run("letter")
    with pytest.raises(EvalkitError, match=r"damaged\.yaml' cannot be read: "):
        run("damaged")
    with pytest.raises(EvalkitError, match=r"slices=other: Synth does not say whether .*: declare `named`"):
        run("other")
    with pytest.raises(EvalkitError, match="unknown slice 'leter': did you mean 'letter'"):
        run("leter")
    result = run("letter,letter:b", "allow_targets=[own_slices]")
    found = result.slices[result.slices.metric == "silence_share"]
    assert list(zip(found.slice, found.group, found.n, strict=True)) == [("letter", "A", 1), ("letter", "B", 2)]
    assert "letter" in (result.path / "table.md").read_text()


def test_groups_of_a_file_like_musiccaps(tmp_path: Path) -> None:
    prompts = MusicCaps(path=str(like_musiccaps(tmp_path / "made.csv"))).load(Cache(tmp_path)).prompts
    found = {(g.kind, g.name): len(g.ids) for g in groups(prompts, slices("label", "voice", "caption_length"))}
    assert found["label", "music"] == 1200
    assert (found["voice", "instrumental"], found["voice", "vocal"]) == (800, 400)
    assert sum(n for (kind, _), n in found.items() if kind == "caption_length") == 1200


def test_groups_of_musiccaps(shared_data: Path, tmp_path: Path) -> None:
    prompts = MusicCaps(path=str(shared_data / "musiccaps-public.csv")).load(Cache(tmp_path)).prompts
    found = {(g.kind, g.name): len(g.ids) for g in groups(prompts, slices("label", "voice", "caption_length"))}
    assert found["label", "music"] == 4464  # /m/04rlf, counted in the file
    assert found["label", "guitar"] == 445
    assert (found["voice", "instrumental"], found["voice", "vocal"]) == (2669, 5521 - 2669)
    assert sum(n for (kind, _), n in found.items() if kind == "caption_length") == 5521
