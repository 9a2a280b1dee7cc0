"""Song Describer: its layout, the names of its files, its subsets, and recordings that captions share."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from evalkit import audio
from evalkit.assets import Asset, assets_of
from evalkit.config import build, compose
from evalkit.errors import EvalkitError
from evalkit.prompts.references import find_references
from evalkit.prompts.song_describer import SongDescriber
from evalkit.results.result import Result
from evalkit.store import digests, memory
from evalkit.store.cache import Cache
from evalkit.types import Clip, PromptSet
from tests.conftest import Run
from tests.prompts.made import TRACKS, like_song_describer

INF = float("inf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return like_song_describer(tmp_path_factory.mktemp("zenodo"), seconds=2.0)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def loaded(path: Path, **options: Any) -> tuple[PromptSet, SongDescriber]:
    found = SongDescriber(path=str(path), **options)
    return found.load(Cache(None)), found


def found_in(path: Path, duration: float = INF, **options: Any) -> dict[str, Clip]:
    prompts, component = loaded(path, **options)
    return {clip.id: clip for clip in find_references(prompts, component, duration)}


def names(clips: dict[str, Clip]) -> dict[str, str]:
    return {id: clip.path.name for id, clip in clips.items() if clip.path is not None}


def test_captions_of_a_track_are_one_cluster_and_have_its_file(folder: Path) -> None:
    prompts, _ = loaded(folder)
    assert (prompts.dataset, prompts.subset, len(prompts), prompts.total) == ("song_describer", "all", 24, 24)
    assert Counter(Counter(p.cluster for p in prompts.prompts).values()) == {1: 4, 2: 4, 3: 4}
    assert {p.cluster for p in prompts.prompts} == {str(track) for track in TRACKS}
    assert all(p.reference and p.reference.name == f"{p.cluster}.2min.mp3" for p in prompts.prompts)
    first = prompts.prompts[0]
    assert (first.id, first.text) == ("0", "A piece for Piano, described a 1. time, no 0")
    assert first.reference == folder / "audio" / "26" / "226.2min.mp3"
    clips = find_references(prompts, SongDescriber(path=str(folder)), INF)
    assert all(clip.ok and clip.seconds is None for clip in clips)
    assert len({clip.sha256 for clip in clips}) == 12


def test_a_shared_file_is_read_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setattr(memory, "SETTLED", 0)  # what was written just now is taken for settled
    probed, digested = Counter[Path](), Counter[str]()
    probe, read = audio.probe, digests._read
    monkeypatch.setattr(audio, "probe", lambda path: (probed.update([path]), probe(path))[1])
    monkeypatch.setattr(digests, "_read", lambda path: (digested.update([str(path)]), read(path))[1])
    assert all(clip.ok and clip.sha256 for clip in found_in(copy).values())
    assert set(probed.values()) == {1} and len(probed) == 12
    assert {count for path, count in digested.items() if path.endswith(".mp3")} == {1}


def test_what_counts_of_a_track_is_its_beginning_or_all_of_it(folder: Path) -> None:
    whole, cut = found_in(folder), found_in(folder, duration=1.0)
    assert {(clip.start, clip.seconds, clip.note) for clip in whole.values()} == {(0.0, None, "")}
    assert {(clip.start, clip.seconds) for clip in cut.values()} == {(0.0, 1.0)}
    assert "to its first 1 s" in next(iter(cut.values())).note


def test_tracks_are_found_under_either_name_and_in_any_folder(folder: Path, tmp_path: Path) -> None:
    expected = names(found_in(folder))
    flat, renamed, deep = tmp_path / "flat", tmp_path / "renamed", tmp_path / "deep"
    for file in sorted((folder / "audio").rglob("*.mp3")):
        places = (
            flat / file.name,
            renamed / "audio" / file.name.replace(".2min", ""),
            deep / "audio/audio" / file.name,
        )
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    for other in (flat, renamed, deep):
        shutil.copy(folder / "song_describer.csv", other)
    assert names(found_in(flat)) == names(found_in(deep)) == expected
    assert names(found_in(renamed)) == {id: name.replace(".2min", "") for id, name in expected.items()}
    assert names(found_in(folder / "song_describer.csv")) == expected  # the file of captions, and what is beside it
    alone, _ = loaded(flat / "song_describer.csv")
    assert all(prompt.reference is None for prompt in alone.prompts)
    shutil.copy(flat / "226.2min.mp3", flat / "226.mp3")  # the full recording, which is not what was described
    assert names(found_in(flat)) == expected
    (flat / "again").mkdir()
    shutil.copy(flat / "226.2min.mp3", flat / "again")
    with pytest.raises(EvalkitError, match=r"two files for the track '226': .*226\.2min\.mp3' and .*remove one"):
        loaded(flat)


def test_a_track_that_is_not_there_is_missing_by_name(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "audio/34/1004034.2min.mp3").unlink()
    clips = found_in(copy)
    assert Counter(clip.status for clip in clips.values()) == {"ok": 22, "missing": 2}
    assert "1004034.2min.mp3' does not exist" in clips["226"].reason


class TestOtherReferences:
    """`prompts.references`: by track or by caption, of which one has the number of a track."""

    def test_a_folder_of_tracks(self, folder: Path, tmp_path: Path) -> None:
        expected = names(found_in(folder))
        for ending in (".2min.mp3", ".mp3"):
            place = tmp_path / ending[1:]
            place.mkdir()
            for track in TRACKS:
                (source,) = (folder / "audio").rglob(f"{track}.2min.mp3")
                shutil.copy(source, place / f"{track}{ending}")
            found = names(found_in(folder, references=str(place)))
            assert {id: name.replace(".2min", "") for id, name in found.items()} == {
                id: name.replace(".2min", "") for id, name in expected.items()
            }
            assert found["226"] == f"1004034{ending}" and found["0"] == f"226{ending}"

    def test_a_folder_of_captions(self, folder: Path, tmp_path: Path) -> None:
        prompts, _ = loaded(folder)
        for prompt in prompts.prompts:
            assert prompt.reference is not None
            shutil.copy(prompt.reference, tmp_path / f"{prompt.id}.mp3")
        found = names(found_in(folder, references=str(tmp_path)))
        assert found == {prompt.id: f"{prompt.id}.mp3" for prompt in prompts.prompts}
        (tmp_path / "0.mp3").unlink()  # of the track 226: another caption's file is not taken for it
        clips = found_in(folder, references=str(tmp_path))
        assert clips["0"].status == "missing" and clips["226"].ok

    @pytest.mark.parametrize(("chosen", "track"), [("226", "1004034"), ("0", "226")])
    def test_a_single_caption_finds_the_same(self, folder: Path, tmp_path: Path, chosen: str, track: str) -> None:
        tracks, captions = folder / "audio", tmp_path / "captions"
        captions.mkdir()
        for prompt in loaded(folder)[0].prompts:
            shutil.copy(str(prompt.reference), captions / f"{prompt.id}.mp3")
        assert names(found_in(folder, references=str(tracks), ids=[chosen])) == {chosen: f"{track}.2min.mp3"}
        assert names(found_in(folder, references=str(captions), ids=[chosen])) == {chosen: f"{chosen}.mp3"}

    def test_a_folder_of_tracks_that_lacks_one(self, folder: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(folder / "audio", tmp_path / "tracks")
        (copy / "34/1004034.2min.mp3").unlink()
        clips = found_in(folder, references=str(copy))
        assert clips["226"].status == "missing" and names(clips)["0"] == "226.2min.mp3"

    def test_one_file_that_is_no_captions_makes_a_folder_one_of_tracks_which_is_told(
        self, folder: Path, tmp_path: Path
    ) -> None:
        prompts, _ = loaded(folder)
        number = next(p.cluster for p in prompts.prompts if p.cluster not in {p.id for p in prompts.prompts})
        others = [p for p in prompts.prompts if p.cluster != number]
        source = str(others[0].reference)
        shutil.copy(source, tmp_path / f"{others[0].id}.mp3")
        alone = found_in(folder, references=str(tmp_path))
        assert alone[others[0].id].ok and alone[others[1].id].reason == f"not in '{tmp_path}'"
        shutil.copy(source, tmp_path / f"{number}.mp3")
        mixed = found_in(folder, references=str(tmp_path))
        said = (
            f"no recording '{others[0].cluster}' in '{tmp_path}', which has recordings, as '{number}' is no prompt's id"
        )
        assert mixed[others[0].id].reason == said and mixed[others[0].id].status == "missing"


class TestSubsets:
    def test_valid_captions(self, folder: Path) -> None:
        prompts, _ = loaded(folder, subset="valid")
        assert (len(prompts), prompts.total, prompts.subset) == (8, 24, "valid")

    def test_the_list_without_singing(self, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "list.csv").write_text("caption_id,caption\n226,other words\n21,\n9999,\n")
        prompts, _ = loaded(folder, subset="no_singing", no_singing=str(tmp_path / "list.csv"))
        assert ([p.id for p in prompts.prompts], prompts.subset) == (["226", "21"], "no_singing")
        assert prompts.prompts[0].text.startswith("A piece for")  # of the list, only ids are read
        assert "lists 1 prompts that are not in the file" in caplog.text
        assert "2 captions on 2 tracks, not the 586 captions on 446 tracks of the published file" in caplog.text
        (tmp_path / "list.csv").write_text("caption_id\n77777\n")
        with pytest.raises(EvalkitError, match=r"lists none of the 24 prompts: its first caption_id is '77777'"):
            loaded(folder, subset="no_singing", no_singing=str(tmp_path / "list.csv"))

    def test_an_unknown_one(self, folder: Path) -> None:
        with pytest.raises(EvalkitError, match="unknown subset 'no_singin': did you mean 'no_singing'"):
            loaded(folder, subset="no_singin")


class TestFiles:
    """What is fetched, and what is not."""

    @staticmethod
    def wanted(node: Any, **changes: Any) -> list[str]:
        return [asset.name.removeprefix("Song Describer's ") for asset in assets_of(build({**node, **changes}))]

    def test_of_a_selection(self) -> None:
        node = OmegaConf.to_container(compose(["model=[]", "prompts=song_describer"]).prompts)
        assert self.wanted(node) == ["captions", "tracks"]
        assert self.wanted(node, subset="no_singing") == ["captions", "tracks", "no-singing list"]
        assert self.wanted(node, audio=None) == ["captions"]
        assert self.wanted(node, references="/some/folder") == ["captions"]
        assert self.wanted(node, path="/some/folder") == []
        assert self.wanted(node, audio="/some/folder") == ["captions", "tracks"]
        node = OmegaConf.to_container(compose(["model=[]", "prompts=musiccaps"]).prompts)
        assert self.wanted(node) == ["MusicCaps captions"]
        assert self.wanted(node, subset="no_singing") == ["MusicCaps captions", "no-singing list"]

    def test_lists_are_pinned(self) -> None:
        for name in ("song_describer", "musiccaps"):
            (asset,) = (
                a for a in assets_of(build(compose(["model=[]", f"prompts={name}_no_singing"]).prompts)) if a.sha256
            )
            assert "/fd55536cc812c460ecc421220864993c7f168184/load/" in str(asset.url) and len(str(asset.sha256)) == 64

    def test_a_local_folder_of_tracks(self, folder: Path, tmp_path: Path, cache: Cache) -> None:
        csv = shutil.copy(folder / "song_describer.csv", tmp_path)
        expected = names(found_in(folder))
        assert names(found_in(Path(csv), audio=str(folder / "audio"))) == expected
        assert names(found_in(Path(csv), audio=Asset("tracks", path=str(folder / "audio")))) == expected
        with pytest.raises(EvalkitError, match=r"prompts\.audio: '.*csv' is no folder: unpack it"):
            loaded(folder, audio=csv)
        with pytest.raises(EvalkitError, match=r"tracks: '/absent' does not exist \(prompts\.audio\)"):
            loaded(folder, audio="/absent")
        with pytest.raises(EvalkitError, match=r"captions is not on this machine .*run 'evalkit fetch'"):
            SongDescriber(source=Asset("captions", url="http://127.0.0.1:9/song_describer.csv")).load(cache)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("track_id", "", "track_id is empty"),
        ("track_id", "../../etc/passwd", "track_id '../../etc/passwd' holds a slash"),
        ("caption_id", "0", "caption_id '0' is also in"),
        ("caption", " ", "caption is empty"),
        ("is_valid_subset", "maybe", "is_valid_subset is 'maybe', not True, False or empty"),
    ],
)
def test_a_bad_row_is_named(folder: Path, tmp_path: Path, column: str, value: str, message: str) -> None:
    header, first, second, *rest = (folder / "song_describer.csv").read_text().splitlines()
    cells = second.replace('", ', "").split(",")
    fields = dict(zip(header.split(","), [*cells[:2], "text", *cells[-6:]], strict=True)) | {column: value}
    (tmp_path / "x.csv").write_text("\n".join([header, first, ",".join(fields.values()), *rest]))
    with pytest.raises(EvalkitError) as error:
        loaded(tmp_path / "x.csv", subset="valid")
    assert str(error.value).startswith(f"'{tmp_path}/x.csv' line 3: {message}")


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "length"), [("musicgen", 1.5), ("stable_audio", 4.0)])
def test_a_run_compares_with_as_much_of_tracks_as_the_protocol_says(
    evalkit: Run, tmp_path: Path, protocol: str, length: float
) -> None:
    place = like_song_describer(tmp_path / "zenodo", seconds=4.0, tracks=TRACKS[:4])
    code, _, err = evalkit(
        *("run", "model=synth", "prompts=song_describer", f"prompts.path={place}", f"protocol={protocol}"),
        *("metric=fad", "random_weights=0", "sampling.duration=1.5", "output_dir=runs"),
    )
    assert code == 0, err
    (folder,) = Path("runs").iterdir()
    record = Result.load(folder)
    assert set(record.clips["reference_length"].round(1)) == {length} and set(record.clips["length"].round(1)) == {1.5}
    assert record.clips["reference_sha256"].nunique() == record.prompts["cluster"].nunique() == 4
    assert len(record.prompts) == 7 and "clusters" in str(record.scores["note"][0])
