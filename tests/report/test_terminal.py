"""The table on terminals of several widths."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from evalkit.report.document import Column, Document, Row, Table
from evalkit.report.to_terminal import render

TITLES = [
    "FAD", "KLD", "CLAP score", "Chroma cosine similarity", "FAD (infinite n)", "Kernel audio distance",
    "Inception score", "Precision", "Recall", "Density", "Coverage", "CLAP retrieval, top 1", "CLAP retrieval, top 5",
    "CLAP retrieval, median rank", "Clipped samples", "Silent share", "Stereo width", "Stereo correlation", "Vocals",
    "Vocals in instrumental prompts", "Loudness", "True peak", "Tempo agreement", "Key agreement", "Beat strength",
    "Melody accuracy", "Onset F1", "Spectral centroid distance", "Aesthetic quality", "Contribution to FAD",
]  # fmt: skip
NAMES = [
    "facebook/musicgen-small", "facebook/musicgen-medium", "musicgen_large", "musicgen_stereo_small",
    "musicgen_stereo_medium", "musicgen_stereo_large", "audioldm2_music", "magnet_small_10secs",
    "stable_audio_open", "jasco_chords_drums_400M",
]  # fmt: skip


def printed(document: Document, width: int) -> str:
    return render(document, Console(width=width, file=io.StringIO(), color_system=None))


def cell(i: int, published: bool, n: int) -> dict[str, Any]:
    value = 0.137 + 1.013 * i
    beside = {"published": round(value, 2), "difference": value - round(value, 2)} if published else {}
    return {"value": value, "low": value - 0.1, "high": value + 0.2, "n": n, **beside}


def made(
    models: int, metrics: int, published: bool = False, n: Sequence[int] = (12,), **options: Any
) -> Document[Table]:
    """A document whose values, of models and metrics in turn, are all different."""
    columns = [Column(f"m{i}", title, "↓↑"[i % 2]) for i, title in enumerate(TITLES[:metrics])]
    rows = [
        Row(
            {"model": name},
            {c.name: cell(k * metrics + i, published, n[i % len(n)]) for i, c in enumerate(columns)},
            {"clips": "12 of 12"},
        )
        for k, name in enumerate(NAMES[:models])
    ]
    return Document("musiccaps", "musiccaps: 12 of 12 prompts", Table(columns, rows, **options))


def values(document: Document) -> list[str]:
    return [f"{cell['value']:,.3f}" for row in document.table.rows for cell in row.cells.values()]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize(("models", "metrics"), [(1, 1), (1, 4), (10, 4), (1, 30), (3, 30), (10, 30)])
@pytest.mark.parametrize("published", [True, False])
def test_every_number_is_whole_and_no_line_is_too_long(models, metrics, published, width) -> None:
    document = made(models, metrics, published)
    text = printed(document, width)
    assert max(map(len, text.splitlines())) <= width
    words = re.split(r"[\s…]+", text)
    for value in values(document):
        assert words.count(value) == 1, value
    for row in document.table.rows:
        for found in row.cells.values():
            assert f"{found['low']:,.3f}" in words and f"{found['high']:,.3f}" in words
            assert not published or f"{found['published']:.2f}" in words


@pytest.mark.parametrize(("models", "metrics", "width"), [(10, 4, 80), (10, 30, 60), (3, 30, 60), (1, 30, 60)])
def test_no_title_is_broken_inside_a_word_or_loses_its_arrow(models, metrics, width) -> None:
    text = printed(made(models, metrics), width)
    words = set(text.split())
    for title in TITLES[:metrics]:
        assert words >= set(title.split()), title
    assert not re.search(r"^ *[↑↓]( |$)", text.replace("↓ lower", "").replace("↑ higher", ""), re.MULTILINE)


def test_four_metrics_of_ten_models_are_one_screen_at_80_columns() -> None:
    lines = printed(made(10, 4, published=True), 80).splitlines()
    assert len(lines) <= 40
    row = next(line for line in lines if line.startswith("musicgen_large"))
    assert row.split()[1:] == ["8.241", "9.254", "10.267", "11.280"]
    below, published = (line.split() for line in lines[lines.index(row) + 1 : lines.index(row) + 3])
    assert below == ["12", "of", "12", "clips", "8.141…8.441", "9.154…9.454", "10.167…10.467", "11.180…11.480"]
    assert published[:2] == ["8.24", "(±0.00)"]
    assert sum("Below each value: interval; published (difference: measured − published)" in x for x in lines) == 1


def test_thirty_metrics_of_one_model_are_a_line_each_at_60_columns() -> None:
    lines = printed(made(1, 30), 60).splitlines()
    assert any(re.fullmatch(r"FAD ↓ +0\.137 +0\.037(…| to )0\.337", line) for line in lines)
    assert sum(bool(re.search(r"\d(…| to )\d", line)) for line in lines) == 30
    assert len(lines) <= 45


def test_a_metric_of_ten_models_is_never_split() -> None:
    document = made(10, 30)
    blocks = printed(document, 60).split("\n\n")
    for column in document.table.columns:
        texts = [f"{row.cells[column.name]['value']:,.3f}" for row in document.table.rows]
        assert (
            sum(all(re.search(rf"(?<![\d.,]){re.escape(t)}(?![\d…])", block) for t in texts) for block in blocks) == 1
        )


def test_three_models_and_thirty_metrics_have_the_models_side_by_side() -> None:
    lines = printed(made(3, 30), 80).splitlines()
    (row,) = [line for line in lines if line.startswith("Loudness")]
    assert row.split() == ["Loudness", "↓", "20.397", "50.787", "81.177"]


def test_n_is_said_once_where_it_can_be() -> None:
    assert "n 12" not in printed(made(2, 4), 80)
    alike = printed(made(2, 4, n=[11], show_n=True), 80)
    assert alike.count("n 11") == 2  # below each model
    by_metric = printed(made(2, 4, n=[12, 11], show_n=True), 80)
    assert by_metric.count("n 11") == 2 and by_metric.count("n 12") == 2  # below each metric
    document = made(2, 4, n=[12, 11], show_n=True)
    cells = dict(document.table.rows[0].cells) | {"m0": {**document.table.rows[0].cells["m0"], "n": 7}}
    rows = [Row(document.table.rows[0].labels, cells), document.table.rows[1]]
    mixed = printed(Document("x", "x", Table(document.table.columns, rows, show_n=True)), 80)
    assert mixed.count("n 7") == 1 and mixed.count("n 11") == 4 and mixed.count("n 12") == 3


@pytest.mark.parametrize("metrics", [1, 2, 5])
def test_n_of_the_only_row_is_said_in_it_whatever_the_number_of_metrics(metrics) -> None:
    document = made(1, metrics, n=(11,), show_n=True)
    for width in (40, 80, 120):
        text = printed(document, width)
        assert text.count("n 11") == 1, text
        assert all(value in text for value in values(document))


def test_what_has_no_value_is_a_dash_and_what_was_not_published_is_not_said() -> None:
    document = made(2, 2, published=True)
    cells = {"m0": cell(0, published=False, n=12), "m1": {"value": float("nan"), "n": 0, "published": 4.0}}
    rows = [Row({"model": "silence"}, cells), document.table.rows[1]]
    lines = printed(Document("x", "x", Table(document.table.columns, rows)), 80).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("silence"))
    assert [line.split() for line in lines[at : at + 3]] == [
        ["silence", "0.137", "–"],
        ["0.037", "to", "0.337", "–"],
        ["4.00", "(–)"],
    ]
    assert lines[at + 3].startswith(NAMES[1])


def test_columns_are_spread_evenly_over_as_few_tables_as_hold_them() -> None:
    blocks = printed(made(10, 4), 60).split("\n\n")[1:-1]
    assert [[title in block for title in ("FAD", "KLD", "CLAP score", "Chroma")] for block in blocks] == [
        [True, True, False, False],
        [False, False, True, True],
    ]


def test_long_names_are_broken_at_their_joints() -> None:
    name = "a_rather_long_model_name_" * 3
    document = made(1, 4, published=True)
    rows = [Row({"model": name, "run": "20261124-181457-demo"}, document.table.rows[0].cells, {"clips": "12 of 12"})]
    text = printed(Document("x", "x", Table(document.table.columns, rows)), 80)
    names = [line[:25].strip() for line in text.splitlines()]
    assert name in "".join(names) and "run" in text and "12 of 12 clips" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_terminal_of_no_width_is_taken_for_one_of_80_columns() -> None:
    assert printed(made(2, 3), 0) == printed(made(2, 3), 80) != ""


def test_markup_in_a_name_or_note_is_text() -> None:
    name = "[red]x[/red] [/nonsense]"
    rows = [Row({"model": name}, {"m": {"value": 1.0}})]
    text = printed(Document("x", "[b]h[/b]", Table([Column("m", "[i]M[/i]")], rows), notes=["[bold]kept[/bold]"]), 80)
    assert name in text and "[i]M[/i]" in text and "- [bold]kept[/bold]" in text and "[b]h[/b]" in text


def test_a_table_without_rows_is_no_error() -> None:
    assert printed(Document("x", "heading", Table([], []), notes=["nothing"]), 80) == "heading\n- nothing\n"


def test_a_terminal_without_unicode_gets_letters_that_it_has() -> None:
    console = Console(width=80, file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"), color_system=None)
    text = render(made(10, 4, published=True), console)
    assert text.replace("±", "").isascii() and "8.141~8.441" in text and "FAD v" in text


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("metrics", [4, 7, 12])
@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize(
    "more", [{}, {"protocol": "stable_audio", "sampling.guidance_scale": "3.0", "run": "20261127"}]
)
def test_headers_break_between_words_only_and_intervals_never(models, metrics, more, width) -> None:
    titles = [
        "Channel correlation", "Side to mid, dB", "Mono share", "Precision", "Recall", "Vocals, share of clips",
        "Vocals, probability in instrumental prompts", "FAD", "KLD", "CLAP score", "Chroma cosine similarity",
        "Coverage",
    ]  # fmt: skip
    columns = [Column(f"m{i}", title, "↑") for i, title in enumerate(titles[:metrics])]
    names = ["facebook/musicgen-stereo-melody-large-finetuned-v2", "musicgen_stereo_medium", "m"][:models]
    cells = [{c.name: cell(k * metrics + i, True, 5521) for i, c in enumerate(columns)} for k in range(models)]
    rows = [Row({"model": n, **more}, c, {"clips": "5,521 of 5,521"}) for n, c in zip(names, cells, strict=True)]
    document = Document("x", "heading", Table(columns, rows))
    text = printed(document, width)
    assert max(map(len, text.splitlines())) <= width
    words = {word.strip("↑") for word in text.split()}
    assert words >= {word for column in columns for word in column.title.split()}
    bounds = [f"{c['low']:,.3f}(…| to ){c['high']:,.3f}" for row in rows for c in row.cells.values()]
    assert all(re.search(rf"(?<!\S){interval}(?!\S)", text) for interval in bounds)
