"""A number is comparable with a published one only if all that is known of that one is the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

import evalkit
from evalkit.errors import EvalkitError
from evalkit.prompts.listed import NO_SINGING
from evalkit.prompts.musiccaps import SUBSETS, MusicCaps
from evalkit.results.beside import compared
from evalkit.results.comparable import CONDITIONS, Reason, prompt_digests, reasons, unverified
from evalkit.results.published import Prompts, Published, load_published
from evalkit.results.record import Record, WeightsInfo
from evalkit.results.summary import notes
from evalkit.store.cache import Cache
from tests.results.made import comparable_record, of_these_prompts

FOLDER = Path(__file__).parents[2] / "conf" / "published"
SMALL = "facebook/musicgen-small"
PASST = WeightsInfo("PaSST weights", "https://example.org/passt.pt", None, "1" * 64, "", None)
CLAP = WeightsInfo("CLAP weights", "/clap.pt", None, "2" * 64, "2" * 64, True)


@pytest.fixture
def measured() -> Record:
    made = comparable_record(SMALL, {"fad": 4.9, "kld": 1.4})
    return replace(made, metrics={name: replace(info, weights=(PASST, CLAP)) for name, info in made.metrics.items()})


@pytest.fixture
def published(measured: Record) -> Published:
    found = [p for p in load_published(FOLDER) if (p.model, p.metric) == (SMALL, "kld")]
    (value,) = of_these_prompts(measured, found)
    return value


def of_row(record: Record, **changes: Any) -> Record:
    return replace(record, rows={"m": replace(record.rows["m"], **changes)})


def of_metric(record: Record, **changes: Any) -> Record:
    return replace(record, metrics={name: replace(info, **changes) for name, info in record.metrics.items()})


def of_clips(record: Record, **columns: Any) -> Record:
    return replace(record, clips=record.clips.assign(**columns))


def of_scores(record: Record, **columns: Any) -> Record:
    return replace(record, scores=record.scores.assign(**columns))


def of_sampling(record: Record, **changes: Any) -> Record:
    return replace(record, sampling={**record.sampling, **changes})


def at(place: str, **changes: Any) -> WeightsInfo:
    return replace(WeightsInfo("MusicGen", place, None, "3" * 64, "", None), **changes)


def test_a_number_that_came_about_in_the_same_way_is_comparable(measured: Record, published: Published) -> None:
    assert reasons(measured, "m", "kld", published) == []
    row = compared(measured, [published]).iloc[1]
    assert row.comparable and row.published == 1.42 and row.difference == pytest.approx(-0.02)
    assert "not comparable" not in row.note


BROKEN: list[tuple[str, str, Callable[[Record], Record]]] = [
    ("random", "random weights: PaSST weights", lambda r: of_metric(r, random=("PaSST weights",))),
    ("random", "random weights: m", lambda r: of_row(r, random=True)),
    ("checkpoint", "not a checkpoint that numbers", lambda r: of_row(r, published=None)),
    (
        "checkpoint",
        "checkpoint facebook/musicgen-large, published facebook/musicgen-small",
        lambda r: of_row(r, published="facebook/musicgen-large"),
    ),
    (
        "checkpoint",
        "checkpoint '/mine', published facebook/musicgen-small",
        lambda r: of_row(r, checkpoint=at("/mine")),
    ),
    (
        "checkpoint",
        "checkpoint 'me/tuned@main', published facebook/musicgen-small",
        lambda r: of_row(r, checkpoint=at("me/tuned@main", repo="me/tuned")),
    ),
    ("given", "12 of 12 prompts with a melody, published without", lambda r: of_row(r, given={"melody": 12})),
    (
        "prompts",
        "prompts of demo, published musiccaps",
        lambda r: replace(r, prompts_info=replace(r.prompts_info, dataset="demo")),
    ),
    (
        "prompts",
        "9 prompts (subset first 9), published 12 (the full musiccaps)",
        lambda r: replace(r, prompts=r.prompts.head(9), prompts_info=replace(r.prompts_info, subset="first 9")),
    ),
    (
        "prompts",
        "the ids of the 12 prompts are not those of the full musiccaps",
        lambda r: replace(r, prompts=r.prompts.assign(id=r.prompts["id"] + "x")),
    ),
    (
        "prompts",
        "captions are not those of the full musiccaps, whose ids the prompts have",
        lambda r: replace(r, prompts=r.prompts.assign(caption=[f"hello {i}" for i in range(12)])),
    ),
    ("missing", "n 11, published 12", lambda r: of_scores(r, n=11)),
    ("coverage", "n 13, published 12", lambda r: of_scores(r, n=13)),
    ("coverage", "1 of 12 clips cannot be used", lambda r: of_clips(r, status=["missing", *["ok"] * 11])),
    ("coverage", "no value", lambda r: of_scores(r, value=math.nan)),
    ("coverage", "only 1 of 12 clips are different", lambda r: of_clips(r, sha256="same")),
    (
        "references",
        "references rendered by Synth, not recordings",
        lambda r: replace(r, references_info=replace(r.references_info, rendered_by="Synth")),  # type: ignore[type-var]
    ),
    ("references", "only 3 of 12 references are different", lambda r: of_clips(r, reference_sha256=list("abc") * 4)),
    (
        "references",
        "12 of 12 clips are their references",
        lambda r: of_clips(r, reference_sha256=r.clips["sha256"]),
    ),
    ("duration", "duration 2.5, published 10", lambda r: of_sampling(r, duration=2.5)),
    ("duration", "duration of 12 of 12 clips 20, published 10", lambda r: of_clips(r, length=20.0)),
    ("duration", "duration of 12 of 12 clips nan, published 10", lambda r: of_clips(r, length=math.nan)),
    (
        "duration",
        "duration of 1 of 12 references 8, published 10",
        lambda r: of_clips(r, reference_length=[8.0] + [10.0] * 11),
    ),
    ("sampling", "top_k 50, published 250", lambda r: of_sampling(r, top_k=50)),
    ("sampling", "temperature 0.8, published 1", lambda r: of_sampling(r, temperature=0.8)),
    (
        "sampling",
        "generate_kwargs {'top_k': 5}, published not set",
        lambda r: of_row(r, definition={"kind": "hf_text_to_audio", "generate_kwargs": {"top_k": 5}}),
    ),
    ("protocol", "protocol musicgen (x), published musicgen", lambda r: of_metric(r, protocol="musicgen (x)")),
    (
        "weights",
        "CLAP weights 444444444444, published 222222222222",
        lambda r: of_metric(r, weights=(PASST, replace(CLAP, digest="4" * 64, published=False))),
    ),
    (
        "weights",
        "PaSST weights 111111111111, published a file of another size",
        lambda r: of_metric(r, weights=(replace(PASST, published=False),)),
    ),
    ("weights", "the digests of weights were not recorded: run it again", lambda r: of_metric(r, weights=None)),
]


@pytest.mark.parametrize(("condition", "text", "broken"), BROKEN, ids=[f"{c}: {t}"[:60] for c, t, _ in BROKEN])
def test_what_is_not_the_same_is_said_by_name(
    condition: str, text: str, broken: Callable[[Record], Record], measured: Record, published: Published
) -> None:
    record = broken(measured)
    (reason,) = reasons(record, "m", "kld", published)
    assert reason.condition == condition and reason.text.startswith(text)
    row = compared(record, [published]).iloc[1]
    assert not row.comparable


def test_every_condition_is_seen_to_fail() -> None:
    assert {condition for condition, *_ in BROKEN} == {*CONDITIONS}


@pytest.mark.parametrize(
    ("unknown", "text"),
    [
        ({"prompts": None}, "ids and captions of the full musiccaps: not known, as published"),
        ({"n": None}, "number of clips not known, as published"),
        ({"duration": None}, "duration not known, as published"),
        ({"sampling": None}, "sampling not known, as published"),
        ({"condition": "melody"}, "0 of 12 prompts with a melody, published with"),
        ({"protocol": "unknown"}, "protocol musicgen, published unknown"),
    ],
)
def test_what_was_not_published_cannot_be_the_same(
    unknown: dict[str, Any], text: str, measured: Record, published: Published
) -> None:
    assert [r.text for r in reasons(measured, "m", "kld", replace(published, **unknown))] == [text]


def test_a_few_more_clips_than_published_hold_the_published_ones(measured: Record, published: Published) -> None:
    """The card's 5,469 clips are of 5,521 prompts, and which ones is not known."""
    prompts = Prompts(12, *prompt_digests(zip(measured.prompts["id"], measured.prompts["caption"], strict=True)))
    for n, comparable in ((5131, False), (5468, False), (5469, True), (5521, True), (5600, False)):
        found = reasons(of_scores(measured, n=n), "m", "kld", replace(published, n=5469, prompts=prompts))
        assert found == (
            [] if comparable else [Reason("missing" if n < 5469 else "coverage", f"n {n:,}, published 5,469")]
        )


def test_the_order_of_prompts_does_not_matter(measured: Record, published: Published) -> None:
    assert reasons(replace(measured, prompts=measured.prompts[::-1]), "m", "kld", published) == []


def test_captions_of_one_recording_may_share_their_reference(measured: Record, published: Published) -> None:
    shared = of_clips(measured, reference_sha256=list("aabbccddeeff"))
    assert [reason.condition for reason in reasons(shared, "m", "kld", published)] == ["references"]
    clustered = replace(shared, prompts=shared.prompts.assign(cluster=[f"t{i // 2}" for i in range(12)]))
    assert reasons(clustered, "m", "kld", published) == []
    same = of_clips(clustered, reference_sha256="a")
    assert "only 1 of 6 references are different" in reasons(same, "m", "kld", published)[0].text


def test_a_metric_without_references_needs_none(measured: Record, published: Published) -> None:
    without = of_clips(of_metric(measured, compares_with="captions"), reference_length=2.0, reference_sha256="")
    assert reasons(replace(without, references_info=None), "m", "kld", published) == []


def test_of_clips_that_were_there_the_sampling_and_the_checkpoint_are_not_verified(
    measured: Record, published: Published
) -> None:
    found = of_row(of_sampling(measured, top_k=3), generated=False, checkpoint=None, definition="Folder(…)")
    assert reasons(found, "m", "kld", published) == []
    assert unverified(found, "m", "kld") == [
        "checkpoint and sampling of m, taken for facebook/musicgen-small",
        "references",
        "PaSST weights (passt.pt, 111111111111)",
    ]
    short = of_clips(found, length=2.5)
    assert [r.text for r in reasons(short, "m", "kld", published)] == ["duration of 12 of 12 clips 2.5, published 10"]


def test_what_a_package_outside_evalkit_makes_is_not_verified(measured: Record, published: Published) -> None:
    theirs = of_row(measured, definition={"kind": "x", "package": "theirs", "source": "5" * 64, "version": 1})
    assert reasons(theirs, "m", "kld", published) == []
    assert "how the package 'theirs' makes the clips of m" in unverified(theirs, "m", "kld")
    assert not any("package" in text for text in unverified(measured, "m", "kld"))


def test_what_no_digest_is_known_of_is_said_once(measured: Record, published: Published) -> None:
    def said(record: Record) -> list[str]:
        return [note for note in notes(record) if note.startswith("not verified")]

    beside = replace(measured, scores=compared(measured, [published]))
    start, weights = "not verified, because too little was published to tell: ", "PaSST weights (passt.pt, 1"
    (line,) = said(beside)
    assert line.startswith(f"{start}references; MusicGen (facebook/musicgen-small@main, dddddddddddd); {weights}")
    (line,) = said(measured)  # no published number stands beside these
    assert line.startswith(f"{start}{weights}")
    assert said(of_metric(measured, weights=(CLAP,))) == []


def test_a_file_that_is_not_the_published_one_is_named(measured: Record) -> None:
    other = of_metric(measured, weights=(replace(CLAP, digest="4" * 64, published=False),))
    assert "not the published file: CLAP weights (/clap.pt, 444444444444)" in notes(other)


def test_every_released_checkpoint_with_a_value_says_what_it_fixes() -> None:
    """Only the model cards of MusicGen and MAGNeT fix enough to be compared with."""
    fixed = {
        p.source
        for p in load_published(FOLDER)
        if p.released and p.value and p.prompts and p.n and p.duration and p.sampling is not None
    }
    assert fixed == {"MusicGen model card", "MAGNeT model card"}


NUMBERS = """
source: {title: a paper, url: https://example.org, primary: true, read: the paper}
protocol: musicgen
dataset: theirs
subset: all
n: 3
duration: 2.0
sampling: {}
metrics: [chroma]
rows:
  - model: someone/model
    metrics: {chroma: 0.25}
"""


def test_a_run_on_what_a_user_published_is_comparable_until_something_differs(tmp_path: Path) -> None:
    """The way from files to `comparable`, with a metric that has no weights."""
    rng = np.random.default_rng(0)
    for side in ("clips", "references"):
        (tmp_path / side).mkdir()
        for id in "abc":
            soundfile.write(tmp_path / side / f"{id}.wav", rng.normal(0, 0.1, 64000), 32000)
    captions = {"a": "first", "b": "second", "c": "third"}
    (tmp_path / "prompts.csv").write_text("id,text\n" + "".join(f"{i},{text}\n" for i, text in captions.items()))
    ids, pairs = prompt_digests(captions.items())
    folder = tmp_path / "conf" / "published"
    (folder / "datasets").mkdir(parents=True)
    (folder / "mine.yaml").write_text(NUMBERS)
    subset = f"{{prompts: 3, ids: {ids}, captions: {pairs}}}"
    (folder / "datasets" / "mine.yaml").write_text(f"dataset: theirs\nsubsets: {{all: {subset}}}\n")

    def score(*options: str) -> Any:
        result = evalkit.evaluate(
            *("model=folder", f"model.folder.path={tmp_path / 'clips'}", "model.folder.published=someone/model"),
            *(
                "prompts=table",
                f"prompts.path={tmp_path / 'prompts.csv'}",
                f"prompts.references={tmp_path / 'references'}",
            ),
            *("prompts.dataset=theirs", "sampling.duration=2", "metric=[chroma]", f"cache_dir={tmp_path / 'cache'}"),
            *(f"output_dir={tmp_path / 'runs'}", *options),
            config_dir=str(tmp_path / "conf"),
        )
        assert json.loads((result.path / "table.json").read_text())["prompts"]["captions"] is not None
        return result.scores.iloc[0]

    assert score().comparable and score().published == 0.25
    first = score("prompts.first=2")
    assert not first.comparable and "not comparable: 2 prompts (subset first 2), published 3" in first.note
    soundfile.write(tmp_path / "clips" / "c.wav", rng.normal(0, 0.1, 32000), 32000)
    assert "not comparable: duration of 1 of 3 clips 1, published 2" in score().note
    (tmp_path / "prompts.csv").write_text("id,text\n" + "".join(f"{i},hello\n" for i in captions))
    assert "not comparable: captions are not those of the full theirs" in score().note
    with pytest.raises(EvalkitError, match="did you mean 'someone/model'"):
        score("model.folder.published=someone/modle")


def test_the_published_digests_are_those_of_musiccaps(shared_data: Path) -> None:
    known = {p.subset: p.prompts for p in load_published(FOLDER) if p.dataset == "musiccaps"}
    assert known["all"] is not None and known["all"].n == 5521
    stored = OmegaConf.load(FOLDER / "datasets" / "musiccaps.yaml").subsets
    assert {*stored} == {*SUBSETS, NO_SINGING}
    for subset, values in stored.items():
        if subset == NO_SINGING:  # of a list that is not on every machine
            assert values.prompts == 2218
            continue
        prompts = MusicCaps(path=str(shared_data), subset=str(subset)).load(Cache(None)).prompts
        digests = prompt_digests((p.id, p.text) for p in prompts)
        assert (values.prompts, values.ids, values.captions) == (len(prompts), *digests)
