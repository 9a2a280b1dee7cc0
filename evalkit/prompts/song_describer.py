"""The Song Describer dataset: several captions for each of 706 tracks.

**Names of files.** The column `path` names a track's full recording, such as `34/1004034.mp3`; what is published of it
are its first two minutes, `34/1004034.2min.mp3`. Tracks are found by their number, with and without `.2min`, in
whichever folder they lie.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from evalkit.assets import Asset
from evalkit.errors import EvalkitError, unknown
from evalkit.prompts.audio_files import by_stem, normal
from evalkit.prompts.listed import NO_SINGING, asset_of, on_list
from evalkit.prompts.references import check_options
from evalkit.prompts.selection import check_narrowing, prompt_set, read_prompts, together
from evalkit.prompts.user_files import Row, find_column, read_rows
from evalkit.store.cache import Cache
from evalkit.types import Prompt, PromptSet

log = logging.getLogger(__name__)

FILE = "song_describer.csv"
VALID = "is_valid_subset"
PUBLISHED = {"all": (1106, 706), "valid": (746, 547), NO_SINGING: (586, 446)}  # captions and tracks, as counted


@dataclass(frozen=True)
class SongDescriber:
    """The Song Describer dataset (Manco et al. 2023), or another file with the columns of `song_describer.csv`.

    A prompt is a caption, named by its `caption_id`; captions of one track are one cluster, and have one reference.

    Attributes:
        source: where the captions come from.
        audio: where the tracks come from; a path in place of it is that of their folder. None for captions alone.
        no_singing: where the list of captions of tracks without singing comes from, or its path.
        path: the folder that holds a local copy of captions and tracks, or its file of captions; takes the place of
            `source` and `audio`. Tracks lie in its folder `audio`, or anywhere below it.
        dataset: the name that published numbers are joined on.
        subset: all, valid (the captions that the authors checked) or no_singing (Stability AI's list).
        aspects, ids, random, random_seed, first: narrow the subset further; see `narrow`.
        references: recordings in place of the tracks: a folder with one file per track, or one per caption.
        cut, max_seconds: how references are cut, and when they are refused; see evalkit.prompts.references.
    """

    source: Asset | None = field(default=None, metadata={"option": "path"})
    audio: Asset | str | None = None
    no_singing: Asset | str | None = None
    path: str | None = None
    dataset: str = "song_describer"
    subset: str = "all"
    aspects: list[str] | None = None
    ids: list[str] | None = None
    random: int | None = None
    random_seed: int = 0
    first: int | None = None
    references: Any = None
    cut: str = "start"
    max_seconds: float | None = None
    ending: ClassVar[str] = ".2min"  # of the names of the tracks' published parts

    def __post_init__(self) -> None:
        if self.subset not in PUBLISHED:
            raise unknown("subset", self.subset, PUBLISHED)
        audio = asset_of(self.audio, "Song Describer's tracks")
        if audio is not None and (self.references or (self.path and not audio.path)):
            audio = None
        wanted = self.no_singing if self.subset == NO_SINGING else None
        # what is set to None is not fetched
        object.__setattr__(self, "audio", audio)
        object.__setattr__(self, "no_singing", asset_of(wanted, "no-singing list"))
        if self.path:
            object.__setattr__(self, "source", None)
        elif self.source is None:
            raise EvalkitError(f"prompts.path is not set: give {FILE}, or its folder")
        check_narrowing(self)
        check_options(self)

    def file(self, cache: Cache) -> Path:
        """Where the file of captions lies. Raises EvalkitError where it has not been fetched."""
        path = self.source.locate(cache, "prompts.path") if self.source else self._local
        return path / FILE if path.is_dir() else path

    def load(self, cache: Cache) -> PromptSet:
        """Read and narrow the prompts, in file order, and find the track of each.

        Raises EvalkitError, with the line, for a file that is not as published, for two files of one track, and for a
        selection that is empty or larger than what there is.
        """
        path = self.file(cache)
        rows = read_rows(path)
        for column in ("caption_id", "track_id", "caption", VALID):
            find_column(path, rows, column)
        place = self._place(cache)
        tracks = by_stem(place) if place else {}

        def of_row(row: Row) -> dict[str, Any]:
            found = together(row, {"cluster": "track_id"})
            if not found["cluster"]:
                raise row.error("track_id is empty")
            return {**found, "reference": _file(place, tracks, found["cluster"]) if place else None}

        prompts = read_prompts(rows, "caption_id", "caption", of_row)
        chosen = self._subset(prompts, rows, cache)
        found = (len(chosen), len({prompt.cluster for prompt in chosen}))
        if found != PUBLISHED[self.subset]:
            said = [f"{captions:,} captions on {n:,} tracks" for captions, n in (found, PUBLISHED[self.subset])]
            log.warning("'%s' has %s, not the %s of the published file (subset %s)", path, *said, self.subset)
        words = [self.subset] if self.subset != "all" else []
        made = prompt_set(self, self.dataset, path, chosen, words, total=len(rows))
        return replace(made, taken=frozenset(prompt.id for prompt in prompts))

    @property
    def _local(self) -> Path:
        return Path(str(self.path)).expanduser().absolute()

    def _subset(self, prompts: Sequence[Prompt], rows: Sequence[Row], cache: Cache) -> list[Prompt]:
        if self.subset == NO_SINGING:
            assert not isinstance(self.no_singing, str)
            return on_list(prompts, self.no_singing, "caption_id", cache)
        if self.subset == "all":
            return list(prompts)
        return [prompt for prompt, row in zip(prompts, rows, strict=True) if _valid(row)]

    def _place(self, cache: Cache) -> Path | None:
        """The folder of the tracks; None where none is given, or where other references are."""
        if self.references:
            return None
        if self.audio is not None:
            assert not isinstance(self.audio, str)
            place = self.audio.locate(cache, "prompts.audio")
            if place.is_file():
                raise EvalkitError(f"prompts.audio: '{place}' is no folder: unpack it, and give the folder")
            return place
        if not self.path:
            return None
        folder = self._local if self._local.is_dir() else self._local.parent
        if (folder / "audio").is_dir():
            return folder / "audio"
        # beside a file that was named, who knows what else lies there
        return folder if self._local.is_dir() else None


def _valid(row: Row) -> bool:
    """Whether the authors checked a caption and found it good; nothing stands where they did not check it."""
    value = row.text(VALID).casefold()
    if value not in ("true", "false", ""):
        raise row.error(f"{VALID} is '{value:.40}', not True, False or empty")
    return value == "true"


def _file(place: Path, tracks: Mapping[str, list[Path]], track: str) -> Path:
    """The file of a track: its published part, where the full recording lies beside it; where it would be if absent."""
    name = f"{normal(track)}{SongDescriber.ending}"
    first, *others = tracks.get(name) or tracks.get(normal(track)) or [place / f"{name}.mp3"]
    if others:
        raise EvalkitError(f"two files for the track '{track}': '{first}' and '{others[0]}': remove one")
    return first
