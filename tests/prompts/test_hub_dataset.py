"""Data sets of hubs: every form of table, columns by name, recordings by path, and commits that are pinned."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evalkit.assets import Asset, assets_of
from evalkit.config import build, compose
from evalkit.errors import EvalkitError
from evalkit.prompts.hub_dataset import HubDataset
from evalkit.prompts.references import find_references
from evalkit.store.cache import Cache
from evalkit.types import PromptSet
from tests.prompts.test_references import write

ROWS = [
    {"key": "a", "words": 'He said "play",\nloud', "sound": "audio/a.wav", "tags": "jazz; slow"},
    {"key": "b", "words": "null and void 🎹", "sound": "audio/b.wav", "tags": ""},
]
COLUMNS = {"id": "key", "caption": "words", "reference": "sound", "tags": "tags"}


def written(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    """A table in the form that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame, form = pd.DataFrame(rows), path.name.removesuffix(".gz").rpartition(".")[2]
    if form == "parquet":
        frame.to_parquet(path)
    elif form in ("csv", "tsv"):
        frame.to_csv(path, index=False, sep="\t" if form == "tsv" else ",")
    else:
        lines = "\n".join(json.dumps(row) for row in rows)
        text = json.dumps(rows, indent=1) if path.name.startswith("list") else lines
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def load(path: Path, columns: dict[str, Any] = COLUMNS, **options: Any) -> PromptSet:
    return HubDataset(path=str(path), columns=columns, **options).load(Cache(None))


@pytest.mark.parametrize(
    "name",
    ["x.parquet", "x.csv", "x.csv.gz", "x.tsv", "x.jsonl", "x.jsonl.gz", "lines.json", "list.json", "list.json.gz"],
)
def test_every_form_of_table_says_the_same(tmp_path: Path, name: str) -> None:
    prompts = load(written(tmp_path / name))
    assert [(p.id, p.text, p.tags) for p in prompts.prompts] == [
        ("a", 'He said "play",\nloud', ("jazz", "slow")), ("b", "null and void 🎹", ()),
    ]  # fmt: skip
    assert prompts.prompts[0].reference == tmp_path / "audio/a.wav"
    assert (prompts.subset, prompts.total) == ("all", 2)


def test_files_that_match_are_read_in_their_order_and_rows_are_numbered(tmp_path: Path) -> None:
    for number, split in enumerate(("test-1", "test-0", "train-0")):
        written(tmp_path / "data" / f"{split}.parquet", [{"text": f"piece {number}"}, {"text": f"again {number}"}])
    (tmp_path / "README.md").write_text("no table")
    prompts = load(tmp_path, {"caption": "text"}, files=["data/test-*"], dataset="mine")
    assert [(p.id, p.text) for p in prompts.prompts] == [
        ("0", "piece 1"), ("1", "again 1"), ("2", "piece 0"), ("3", "again 0"),
    ]  # fmt: skip
    other = load(tmp_path, {"caption": "text"}, files=["data/train-*"])
    assert prompts.dataset == "mine" and prompts.sha256 != other.sha256
    with pytest.raises(EvalkitError, match=r"has no table \(parquet, .*\) such as data/valid-\*"):
        load(tmp_path, {"caption": "text"}, files=["data/valid-*"])


def test_translations_languages_and_clusters(tmp_path: Path) -> None:
    rows = [{"en": "A drum.", "de": "Eine Trommel.", "which": lang, "of": "7"} for lang in ("de", "ru")]
    columns = {"caption": "en", "translation": "de", "language": "which", "cluster": "of"}
    prompts = load(written(tmp_path / "x.parquet", rows), columns, languages=["de"])
    (prompt,) = prompts.prompts
    assert (prompt.given.text, prompt.text, prompt.language, prompt.unit) == ("Eine Trommel.", "A drum.", "de", "7")
    assert prompts.subset == "in de"


class TestRecordings:
    def test_they_lie_where_the_column_says_or_in_a_folder_more(self, tmp_path: Path) -> None:
        expected = {}
        for folder, inside in ((tmp_path / "plain", "audio"), (tmp_path / "more", "set/audio")):
            written(folder / "set.csv")
            expected[folder] = [write(folder / inside / f"{name}.wav", 1.5) for name in "ab"]
        for folder, paths in expected.items():
            made = HubDataset(path=str(folder), columns=COLUMNS)
            clips = find_references(made.load(Cache(None)), made, 10)
            assert [clip.path for clip in clips] == paths and all(clip.ok for clip in clips)
        write(tmp_path / "more" / "other" / "audio" / "a.wav")
        with pytest.raises(EvalkitError, match=r"line 2: sound: both '.*' and '.*' could be 'audio/a\.wav'"):
            load(tmp_path / "more")

    def test_one_that_is_not_there_is_missing_by_its_path(self, tmp_path: Path) -> None:
        written(tmp_path / "set.csv")
        write(tmp_path / "audio" / "b.wav")
        made = HubDataset(path=str(tmp_path), columns=COLUMNS)
        first, second = find_references(made.load(Cache(None)), made, 10)
        assert (first.status, second.status) == ("missing", "ok") and "audio/a.wav' does not exist" in first.reason

    @pytest.mark.parametrize("path", ["../a.wav", "/etc/a.wav", "audio/../../a.wav"])
    def test_a_path_out_of_the_data_set_is_refused(self, tmp_path: Path, path: str) -> None:
        table = written(tmp_path / "x.csv", [{**ROWS[0], "sound": path}])
        with pytest.raises(EvalkitError, match=r"line 2: sound is '.*', which leads out of the data set"):
            load(table)

    def test_bytes_inside_a_file_are_not_read(self, tmp_path: Path) -> None:
        sound = pa.array([{"bytes": b"RIFF", "path": "a.wav"}], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
        pq.write_table(pa.table({"sound": sound, "words": ["A drum."]}), tmp_path / "x.parquet")
        (prompt,) = load(tmp_path / "x.parquet", {"caption": "words"}).prompts
        assert (prompt.id, prompt.reference) == ("0", None)
        with pytest.raises(
            EvalkitError, match=r"row 1: sound holds the recordings themselves, .* set prompts\.references"
        ):
            load(tmp_path / "x.parquet", {"caption": "words", "reference": "sound"})
        folder = str(write(tmp_path / "sounds" / "0.wav").parent)
        made = HubDataset(
            path=str(tmp_path / "x.parquet"), columns={"caption": "words", "reference": "sound"}, references=folder
        )
        assert find_references(made.load(Cache(None)), made, 10)[0].ok
        with pytest.raises(EvalkitError, match="sound is bytes inside the file, not text"):
            load(tmp_path / "x.parquet", {"caption": "sound"})


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.parquet", b"PAR1", "cannot read '"),
            ("x.csv.gz", gzip.compress(b"key,words,sound,tags\n" * 99, mtime=0)[:-20], "cannot read '"),
            ("x.csv.gz", b"key,words\n", "cannot read '"),
            ("list.json", b'[{"key": "a"}, 3]', "entry 2: not a JSON object"),
            ("list.json", b"[{", "is not JSON"),
            ("list.json", b"[]", "has no rows"),
            ("x.json", b'{"key": "a", "words": "b"}\n{', "line 2: not JSON"),
            ("x.csv", b"key,text\na,b\n", "has no column 'words': it has key, text"),
            ("x.csv", b"key,words,sound,tags\na,,,\n", "line 2: words is empty"),
            ("x.csv", b"key,words,sound,tags\na/b,c,,\n", "line 2: prompt's id 'a/b' holds a slash"),
            ("x.txt", b"", "is no table by its name: set prompts.format"),
        ],
    )
    def test_a_bad_file_is_one_clear_line(self, tmp_path: Path, name: str, content: bytes, message: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EvalkitError) as error:
            load(tmp_path / name)
        assert message in str(error.value) and str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)

    def test_a_bad_option_is_one_clear_line(self, tmp_path: Path) -> None:
        with pytest.raises(
            EvalkitError, match=r"prompts\.repo is not set: give the id of a data set, or prompts\.path"
        ):
            HubDataset(columns=COLUMNS)
        with pytest.raises(EvalkitError, match=r"prompts\.columns\.caption is not set"):
            HubDataset(path="x", columns={"caption": None})
        with pytest.raises(EvalkitError, match=r"unknown of prompts\.columns 'captions': did you mean 'caption'"):
            HubDataset(path="x", columns={"captions": "a"})
        with pytest.raises(EvalkitError, match=r"unknown prompts\.format 'parket': did you mean 'parquet'"):
            HubDataset(path="x", columns=COLUMNS, format="parket")
        with pytest.raises(EvalkitError, match="'/absent' does not exist: give a file of captions, or the folder"):
            load(Path("/absent"))


class TestOfTheHub:
    def test_a_branch_is_said_to_be_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        commit, root = "a" * 40, tmp_path / "hub" / "datasets--some--captions"
        written(root / "snapshots" / commit / "data" / "test.parquet")
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text(commit)
        options = {"repo": "some/captions", "files": ["data/*.parquet"], "columns": COLUMNS}
        prompts = HubDataset(**options).load(Cache(tmp_path / "cache"))
        assert (prompts.dataset, len(prompts)) == ("captions", 2)
        assert (
            f"prompts.revision is not set, so main is read: the captions are those of the commit {commit}"
            in caplog.text
        )
        caplog.clear()
        HubDataset(**options, revision=commit).load(Cache(tmp_path / "cache"))
        assert not caplog.text
        with pytest.raises(EvalkitError, match=r"data set some/captions is not on this machine .*run 'evalkit fetch'"):
            HubDataset(**{**options, "revision": "b" * 40}).load(Cache(tmp_path / "cache"))

    @pytest.mark.parametrize("name", ["fmacaps", "musicbench", "musiccaps_ru", "song_describer", "musiccaps"])
    def test_what_comes_from_a_hub_is_pinned(self, name: str) -> None:
        for asset in assets_of(build(compose(["model=[]", f"prompts={name}"]).prompts)):
            assert asset.licence != "unknown"
            if asset.repo:
                assert len(str(asset.revision)) == 40 and asset.repo_type == "dataset" and asset.files
            elif "zenodo" not in str(asset.url):  # records there have their number for ever
                assert len(str(asset.sha256)) == 64


class TestExamples:
    """The sets whose YAMLs come with evalkit, in the layout of their files."""

    ROW: ClassVar[dict[str, Any]] = {
        "dataset": "d",
        "main_caption": "A slow song.",
        "alt_caption": "",
        "prompt_key": "",
        "beats": [[0.5], [1.0]],
    }

    def test_fmacaps(self, tmp_path: Path) -> None:
        archive = tmp_path / "FMACaps_eval_set.tar.gz"
        sound = io.BytesIO(write(tmp_path / "a.wav", 5.0).read_bytes())
        with tarfile.open(archive, "w:gz") as packed:
            for letter in "ABC":
                rows = [{**self.ROW, "location": f"FMACaps_eval_set/audiodata/0{n}.wav"} for n in range(3)]
                data = "\n".join(json.dumps({**row, "main_caption": f"{letter} {n}"}) for n, row in enumerate(rows))
                info = tarfile.TarInfo(f"FMACaps_eval_set/FMACaps_{letter}.json")
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data.encode()))
            for number in range(3):
                info = tarfile.TarInfo(f"FMACaps_eval_set/audiodata/0{number}.wav")
                info.size = len(sound.getvalue())
                sound.seek(0)
                packed.addfile(info, sound)
        asset = build(compose(["model=[]", "prompts=fmacaps"]).prompts).source
        made = Asset(asset.name, url=archive.as_uri(), files=asset.files, unpack=True)
        folder = made.fetch(Cache(tmp_path / "cache"), bar=False)
        component = build(compose(["model=[]", "prompts=fmacaps", f"prompts.path={folder}"]).prompts)
        prompts = component.load(Cache(None))
        assert [(p.id, p.text) for p in prompts.prompts] == [("00", "C 0"), ("01", "C 1"), ("02", "C 2")]
        assert prompts.dataset == "fmacaps"
        assert [clip.status for clip in find_references(prompts, component, 10)] == ["ok"] * 3

    def test_musicbench(self, tmp_path: Path) -> None:
        written(tmp_path / "MusicBench_test_A.json", [{**self.ROW, "location": "data/-0SdAVK79lg_1.wav"}])
        written(tmp_path / "MusicBench_test_B.json", [{**self.ROW, "location": "data/-0SdAVK79lg_1.wav"}])
        (clip,) = [write(tmp_path / "datashare" / "data" / "-0SdAVK79lg_1.wav")]
        options = ["model=[]", "prompts=musicbench", f"prompts.path={tmp_path}"]
        prompts = build(compose(options).prompts).load(Cache(None))
        assert [p.id for p in prompts.prompts] == ["-0SdAVK79lg_1"] and prompts.prompts[0].reference == clip
        other = build(compose([*options, f"prompts.references={tmp_path}/datashare"]).prompts)
        assert find_references(other.load(Cache(None)), other, 10)[0].path == clip
