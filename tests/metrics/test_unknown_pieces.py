"""What of a prompt the text encoder's tokenizer does not know, in files of the published layout, and of random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from evalkit.assets import Asset
from evalkit.config import build, compose
from evalkit.encoders.t5_pieces import T5Pieces
from evalkit.errors import EvalkitError
from evalkit.metrics.unknown_pieces import UnknownPieces
from evalkit.store.cache import Cache
from evalkit.types import Features, Prompt

SENTENCES = ["a slow flute plays softly, 120 bpm", "Der größte Bär spielt Flöte", "Une mélodie très douce à la flûte"]
# of each text the characters that no piece has, and all that are no white space
COUNTS = {
    "a slow flute": (0, 10),
    "Der größte Bär": (0, 12),
    "Медленная флейта, 120 bpm": (15, 22),  # the comma and the tempo are known
    "消失的笛子，慢": (6, 7),  # the wide comma is read as an ordinary one
    "a 笛 笛子 flute": (3, 9),
    "  flûte\u3000🎵  ": (1, 6),
    " ": (0, 0),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a SentencePiece model that is trained here, with T5's special pieces, as spiece.model."""
    folder = tmp_path_factory.mktemp("t5")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20), model_prefix=str(folder / "spiece"), vocab_size=60, num_threads=1,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", character_coverage=1.0, hard_vocab_limit=False,
        minloglevel=2,
    )  # fmt: skip
    return folder


def counted(folder: Path, *prompts: Prompt) -> list[tuple[float, float]]:
    found = T5Pieces(Asset("T5", path=str(folder))).load(Cache(folder), "cpu")(list(prompts))
    assert all(value.shape == (1, 2) and value.dtype == np.float32 for value in found)
    return [(float(value[0, 0]), float(value[0, 1])) for value in found]


def test_characters_in_unknown_pieces_are_counted(published: Path, tmp_path: Path) -> None:
    import transformers

    prompts = [Prompt(str(i), text) for i, text in enumerate(COUNTS)]
    assert counted(published, *prompts) == list(COUNTS.values())
    # what counts them as the original does: its ids, and its surfaces of unknown pieces
    original = sentencepiece.SentencePieceProcessor(model_file=str(published / "spiece.model"))
    for text, (unknown, _) in COUNTS.items():
        pairs = zip(original.encode(text), original.encode(text, out_type=str), strict=True)
        assert sum(len(surface) for piece, surface in pairs if piece == original.unk_id()) == unknown
    transformers.T5Tokenizer.from_pretrained(published).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()  # as google-t5/t5-base was published
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]
    assert counted(tmp_path, *prompts) == list(COUNTS.values())


def test_what_is_read_is_what_models_are_given(published: Path) -> None:
    told = Prompt("a", "a flute", translation="флейта", language="ru", tags=("笛",))
    assert counted(published, told, Prompt("b", "a flute")) == [(6, 6), (0, 6)]


def test_a_folder_that_is_not_such_a_tokenizer_is_refused(published: Path, tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match=r"is no folder with tokenizer\.json or spiece\.model"):
        counted(tmp_path, Prompt("a", "x"))
    (tmp_path / "spiece.model").write_bytes((published / "spiece.model").read_bytes()[:-1000])
    with pytest.raises(EvalkitError, match=r"T5: .* cannot be loaded: delete it and get it again"):
        counted(tmp_path, Prompt("a", "x"))
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"', "utf-8")
    with pytest.raises(EvalkitError, match=r"T5: .* cannot be loaded"):
        counted(tmp_path, Prompt("a", "x"))


def test_the_value_is_the_mean_share_of_prompts(tmp_path: Path) -> None:
    (metric,) = (
        build(node)
        for node in compose(
            ["model=synth", "prompts=demo", "metric=[unknown_pieces]", "random_weights=0"]
        ).metric.values()
    )
    assert isinstance(metric, UnknownPieces) and metric.reference_encoder.random
    ids = ("a", "b", "c")
    counts = [np.array([x], np.float32) for x in ((5, 10), (0, 30), (0, 0))]
    measured = metric(Features(ids, (np.zeros((1, 9), np.float32),) * 3), Features(ids, tuple(counts)))
    assert measured.value == 0.25 and measured.per_clip == {"a": 0.5, "b": 0.0}
    made_up = metric.reference_encoder.load(Cache(tmp_path), "cpu")
    assert [float(x[0, 0]) for x in made_up([Prompt("a", "eine größere Flöte"), Prompt("b", "флейта")])] == [0, 6]


def test_the_tokenizer_that_is_fetched_is_pinned() -> None:
    (metric,) = (
        build(node) for node in compose(["model=synth", "prompts=demo", "metric=[unknown_pieces]"]).metric.values()
    )
    tokenizer = metric.reference_encoder.tokenizer
    assert not metric.reference_encoder.random and len(tokenizer.revision) == 40
