"""Which prompts form which groups."""

from __future__ import annotations

import pytest

from evalkit.errors import EvalkitError
from evalkit.prompts.musiccaps import MusicCaps
from evalkit.prompts.slices import MOST, Group, check, groups
from evalkit.store.cache import Cache
from evalkit.types import Prompt

PROMPTS = [
    Prompt("a", "word " * 25, tags=("Piano", "no voices"), labels=("Music", "Piano")),
    Prompt("b", "word " * 26, tags=("piano", "Piano", "male vocal"), labels=("Music",)),
    Prompt("c", "word " * 76, tags=("drums",)),
]


def ids(found: list[Group]) -> dict[str, str]:
    return {group.name: "".join(sorted(group.ids)) for group in found}


def test_tags_and_labels_are_groups_the_largest_first() -> None:
    assert ids(groups(PROMPTS, ["tag"])) == {"piano": "ab", "no voices": "a", "male vocal": "b", "drums": "c"}
    assert list(ids(groups(PROMPTS, ["label"])).items()) == [("music", "ab"), ("piano", "a")]
    assert ids(groups(PROMPTS, ["tag:Drums", "tag:drums"])) == {"drums": "c"}


def test_only_the_largest_of_many() -> None:
    many = [Prompt(str(i), "x", tags=tuple(f"t{j}" for j in range(i + 1))) for i in range(2 * MOST)]
    found = groups(many, ["tag"])
    assert [group.name for group in found] == [f"t{i}" for i in range(MOST)]
    assert len(found[0].ids) == 2 * MOST


def test_caption_length_and_voice() -> None:
    assert ids(groups(PROMPTS, ["caption_length"])) == {
        "1 to 25 words": "a", "26 to 50 words": "b", "over 75 words": "c",
    }  # fmt: skip
    assert ids(groups(PROMPTS, ["voice"])) == {"instrumental": "ac", "vocal": "b"}


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(EvalkitError, match="did you mean 'voice'"):
        check(["voices"])
    with pytest.raises(EvalkitError, match="only tag:NAME and label:NAME"):
        check(["voice:instrumental"])
    with pytest.raises(EvalkitError, match="no prompt has the tag 'pianoo': did you mean 'piano'"):
        groups(PROMPTS, ["tag:pianoo"])


def test_groups_of_musiccaps(shared_data, tmp_path) -> None:
    prompts = MusicCaps(path=str(shared_data / "musiccaps-public.csv")).load(Cache(tmp_path)).prompts
    found = {(g.kind, g.name): len(g.ids) for g in groups(prompts, ["label", "voice", "caption_length"])}
    assert found["label", "music"] == 4464  # /m/04rlf, counted in the file
    assert found["label", "guitar"] == 445
    assert (found["voice", "instrumental"], found["voice", "vocal"]) == (2669, 5521 - 2669)
    assert sum(n for (kind, _), n in found.items() if kind == "caption_length") == 5521
