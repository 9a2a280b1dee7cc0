"""The table of a run, in its four forms."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from evalkit.report.markdown import to_markdown
from evalkit.report.terminal import to_rich
from evalkit.report.wording import Count, Summary, notes, table, to_csv, to_json
from evalkit.results.published import compare, load_published, others
from evalkit.types import Score

PUBLISHED = load_published(Path(__file__).parents[2] / "conf" / "published")
METRICS = {
    "fad": ("FAD", False),
    "kld": ("KLD", False),
    "clap_score": ("CLAP score", True),
    "chroma": ("Chroma cosine similarity", True),
}
MODELS = {"musicgen_small": "facebook/musicgen-small", "musicgen_stereo_small": "facebook/musicgen-stereo-small"}
VALUES = {
    "musicgen_small": {"fad": 4.9034, "kld": 1.4031, "clap_score": 0.2689, "chroma": 0.1014},
    "musicgen_stereo_small": {"fad": 5.1117, "kld": 1.4444, "clap_score": 0.2718, "chroma": math.nan},
}


def summary(models=MODELS, values=VALUES, n=None, metrics=METRICS, compared=None, **kwargs) -> Summary:
    n = n or {"clap_score": 5521}
    scores = [
        Score(model, metric, value, n.get(metric, 5469), "musicgen", METRICS[metric][1])
        for model, row in values.items()
        for metric, value in row.items()
    ]
    comparison = compare(
        scores,
        models,
        **{"random": set(), "dataset": "musiccaps", "subset": "all", "full": True, **(compared or {})},
        published=PUBLISHED,
    )
    options = {
        "metrics": metrics,
        "dataset": "musiccaps",
        "subset": "all",
        "selected": 5521,
        "total": 5521,
        "protocol": "musicgen",
        "generated": {model: Count(5521, 5521) for model in models},
        "references": Count(5469, 5521, {"missing": 40, "unreadable": 12}),
        "cut": 3,
        "cut_to": 10.0,
        **kwargs,
    }
    return Summary(comparison=comparison, **options)


def printed(shown: Summary, width: int) -> str:
    file = io.StringIO()
    to_rich(shown, Console(width=width, file=file, color_system=None))
    return file.getvalue()


def one_line(text: str) -> str:
    return " ".join(text.split())


def cells(markdown: str, model: str) -> list[str]:
    line = next(x for x in markdown.splitlines() if x.startswith(f"| {model} "))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_wide_table_has_the_values():
    frame = table(summary()).set_index("model")
    small, stereo = frame.loc["musicgen_small"], frame.loc["musicgen_stereo_small"]
    assert (small.fad, small.fad_n, small.fad_published) == (4.9034, 5469, 4.88)
    assert small.fad_difference == pytest.approx(0.0234) and small.kld_difference == pytest.approx(-0.0169)
    assert small.clap_score_n == 5521 and small.fad_comparable and not stereo.fad_comparable
    assert math.isnan(stereo.fad_published) and math.isnan(stereo.chroma)
    assert "no FAD, KLD or CLAP score was published on MusicCaps for this stereo checkpoint" in stereo.note
    assert (small.clips, small.prompts, small.protocol, small.random_weights) == (5521, 5521, "musicgen", "")


def test_a_model_without_scores_keeps_its_row():
    shown = summary(generated={"musicgen_small": Count(5521, 5521), "broken": Count(0, 5521, {"failed": 5521})})
    frame = table(shown).set_index("model")
    assert frame.loc["broken", "clips"] == 0 and math.isnan(frame.loc["broken", "fad"])
    assert pd.isna(frame.loc["broken", "fad_n"])
    assert "broken: clips 0 of 5,521 (5,521 failed)" in notes(shown)
    assert cells(to_markdown(shown), "broken")[1:3] == ["0 of 5,521", "–"]
    json.dumps(to_json(shown), allow_nan=False)


def test_notes_say_each_thing_once():
    lines = notes(summary())
    assert lines[0] == "references 5,469 of 5,521 (40 missing, 12 unreadable; 3 cut to 10 s)"
    assert len(lines) == len(set(lines))
    stereo = [x for x in lines if "stereo checkpoint" in x]
    assert stereo == [
        "musicgen_stereo_small: FAD, KLD, CLAP score: "
        "no FAD, KLD or CLAP score was published on MusicCaps for this stereo checkpoint"
    ]
    # about all models, so none is named
    assert "Chroma cosine similarity: no value was published for this checkpoint on musiccaps" in lines
    assert any(x.startswith("published: MusicGen model card, https://") for x in lines)


def test_notes_of_a_subset_random_weights_and_another_protocol():
    subset = notes(summary(compared={"subset": "balanced", "full": False}))
    assert sum("a subset is not the full set" in x for x in subset) == 1
    random = summary(compared={"random": {"musicgen_small"}})
    assert "musicgen_small: random weights: not compared with published numbers" in notes(random)
    assert "4.88" not in to_markdown(random)
    mine = notes(summary(compared={"dataset": "mine"}))
    assert "no published numbers are known for the prompt set 'mine'" in mine


def test_references_that_are_none_or_rendered_are_said():
    assert notes(summary(references=None))[0] == "references: none"
    rendered = summary(references=Count(12, 12), cut=0, rendered_by="synth")
    assert notes(rendered)[0] == "references 12 of 12, rendered by synth, not recordings"


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_the_terminal_shows_every_value(width):
    text = printed(summary(), width)
    assert max(map(len, text.splitlines())) <= width
    for value in ("4.903", "1.403", "0.269", "0.101", "5.112", "1.444", "0.272", "4.88", "1.42", "0.27"):
        assert f" {value} " in text, value
    for value in ("+0.02", "-0.02", "±0.00", "5,469", "5,521 of 5,521", "–"):
        assert value in text, value
    assert "…" not in text
    flat = one_line(text)
    assert "musicgen_stereo_small" in flat and "(40 missing, 12 unreadable; 3 cut to 10 s)" in flat
    assert "for this stereo checkpoint" in flat


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_four_metrics_side_by_side(width):
    lines = printed(summary(), width).splitlines()
    row = next(x for x in lines if "musicgen_small" in x)
    assert row.split() == ["musicgen_small", "measured", "4.903", "1.403", "0.269", "0.101"]
    header = next(x for x in lines if "FAD ↓" in x)
    assert "KLD ↓" in header
    assert any("↑" in x for x in lines)


def test_many_metrics_and_long_names_do_not_break_a_narrow_terminal():
    metrics = {f"metric_{i}": (f"Metric number {i}", bool(i % 2)) for i in range(12)}
    name = "a_rather_long_model_name_" * 3
    rows = [
        {
            "model": name,
            "metric": metric,
            "measured": 1000 + i + 0.5,
            "low": math.nan,
            "high": math.nan,
            "n": 10,
            "published": math.nan,
        }
        | {"difference": math.nan, "source": "", "url": "", "protocol": "x", "comparable": False, "note": ""}
        for i, metric in enumerate(metrics)
    ]
    shown = Summary(pd.DataFrame(rows), metrics, "mine", "all", 10, 10, "x", {name: Count(10, 10)})
    text = printed(shown, 80)
    assert max(map(len, text.splitlines())) <= 80
    for i in range(12):
        assert f"{1000 + i:,}.500" in text
    assert "published" not in text and "…" not in text


def test_random_weights_are_loud_everywhere():
    shown = summary(weights=["VGGish", "PaSST"])
    warning = "Random weights: VGGish, PaSST. The numbers below mean nothing outside this table."
    assert one_line(printed(shown, 80)).startswith(warning)
    markdown = to_markdown(shown)
    assert f"> **{warning}**" in markdown
    assert markdown.index(warning) < markdown.index("| model")
    assert to_json(shown)["warning"] == warning
    assert pd.read_csv(io.StringIO(to_csv(shown)))["random_weights"].tolist() == ["VGGish, PaSST"] * 2
    assert "Random weights" not in to_markdown(summary())


def test_markdown_has_the_table_the_notes_and_the_context():
    context = others("musiccaps", list(METRICS), PUBLISHED, besides=MODELS.values())
    text = to_markdown(summary(context=context, provenance={"commit": "abc123", "device": "cpu"}))
    header = cells(text, "model")
    assert header[:5] == ["model", "clips", "FAD ↓", "FAD published", "FAD difference"]
    row = dict(zip(header, cells(text, "musicgen_small"), strict=True))
    assert row["FAD ↓"] == "4.903 (n 5,469)" and row["CLAP score ↑"] == "0.269 (n 5,521)"
    assert (row["FAD published"], row["FAD difference"]) == ("4.88", "+0.02")
    assert (row["KLD published"], row["KLD difference"]) == ("1.42", "-0.02")
    assert "Chroma cosine similarity published" not in header
    stereo = dict(zip(header, cells(text, "musicgen_stereo_small"), strict=True))
    assert (stereo["FAD published"], stereo["FAD difference"]) == ("–", "–")
    assert text.startswith("# evalkit: musiccaps\n")
    assert "## Other published numbers" in text and "## Provenance" in text and "- commit: abc123" in text
    assert cells(text, "Riffusion")[1:4] == ["14.8", "2.06", "0.19"]
    assert cells(text, "facebook/jasco-chords-drums-400M")[1] == "5.648"
    assert "| facebook/musicgen-small " not in text  # it is in the table above
    assert "MusicLM, Noise2Music: copied by the MusicGen paper" in text
    assert text.count("[MAGNeT model card](https://github.com/facebookresearch/audiocraft/") == 4


def test_n_is_shown_only_where_it_says_something():
    same = {metric: 5521 for metric in METRICS}
    assert "(n " not in to_markdown(summary(n=same)) and "  n  " not in printed(summary(n=same), 100)
    # the same for all metrics, but not the number of clips that were generated
    fewer = {metric: 5469 for metric in METRICS}
    assert "4.903 (n 5,469)" in to_markdown(summary(n=fewer))


@pytest.mark.parametrize("name", ["a|b", "<img src=x onerror=alert(1)>", "[link](http://x)", "`code` *b* _i_", "a\nb"])
def test_names_are_literal_in_markdown_and_on_the_terminal(name):
    shown = summary(models={name: None}, values={name: VALUES["musicgen_small"]}, provenance={"file": name})
    text = to_markdown(shown)
    rows = [x for x in text.splitlines() if x.startswith("|")]
    assert len(rows) == 3
    assert len({len(re.split(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "<img" not in text and "[link](" not in text and "`code`" not in text and "\n b" not in text
    if name == "a|b":
        assert "| a\\|b " in rows[2]
    if name.startswith("<img"):
        assert "&lt;img src=x onerror=alert(1)&gt;" in rows[2]


def test_rich_markup_in_a_name_is_text():
    name = "[red]x[/red] [/nonsense]"
    shown = summary(models={name: None}, values={name: VALUES["musicgen_small"]}, remarks=["[bold]kept[/bold]"])
    text = printed(shown, 100)
    assert name in text and "[bold]kept[/bold]" in text


def test_two_metrics_with_one_title_keep_their_columns():
    metrics = {"fad": ("FAD", False), "kld": ("FAD", False)}
    header = cells(to_markdown(summary(metrics=metrics)), "model")
    assert "FAD (fad) ↓" in header and "FAD (kld) ↓" in header


def test_csv_reads_back_equal():
    shown = summary()
    back = pd.read_csv(io.StringIO(to_csv(shown)), float_precision="round_trip")
    expected = table(shown)
    assert list(back.columns) == list(expected.columns)
    for column in ("model", "note", "dataset"):
        assert back[column].tolist() == expected[column].tolist()
    for metric in METRICS:
        for column in (metric, f"{metric}_n", f"{metric}_published", f"{metric}_difference"):
            pd.testing.assert_series_equal(
                back[column].astype(float), expected[column].astype(float), check_exact=True, check_names=False
            )


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@x"])
def test_csv_holds_no_formula(name):
    text = to_csv(summary(models={name: None}, values={name: {**VALUES["musicgen_small"], "fad": -1.5}}))
    row = pd.read_csv(io.StringIO(text)).iloc[0]
    assert row.model == f"'{name}" and row.fad == -1.5


def test_json_reads_back_equal_with_null_for_nan():
    context = others("musiccaps", ["fad", "chroma"], PUBLISHED)
    value = to_json(summary(context=context, remarks=["a remark"]))
    back = json.loads(json.dumps(value, allow_nan=False))
    assert back == value
    small, stereo = back["table"]
    assert (small["fad"], small["fad_published"], small["fad_n"]) == (4.9034, 4.88, 5469)
    assert stereo["fad_published"] is None and stereo["chroma"] is None
    assert back["references"]["reasons"] == {"missing": 40, "unreadable": 12} and back["references"]["cut_to"] == 10
    assert back["metrics"]["clap_score"] == {"title": "CLAP score", "higher_is_better": True}
    assert len(back["scores"]) == 8 and "a remark" in back["notes"]
    riffusion = next(x for x in back["context"] if x["model"] == "Riffusion")
    assert riffusion["fad"] == 14.8 and riffusion["chroma"] is None


def with_intervals(**options) -> Summary:
    shown = summary(**options)
    shown.comparison["low"] = shown.comparison["measured"] - 0.0111
    shown.comparison["high"] = shown.comparison["measured"] + 0.0222
    return shown


def test_intervals_stand_beside_their_scores():
    shown = with_intervals()
    assert "4.903 [4.892, 4.926] (n 5,469)" in to_markdown(shown).replace("\\[", "[").replace("\\]", "]")
    text = printed(shown, 120)
    assert re.search(r"\bfrom +4\.892 ", text) and re.search(r"\bto +4\.926 ", text)
    assert any("0.95 confidence" in note for note in notes(shown))
    row = table(shown).iloc[0]
    assert (row.fad_low, row.fad_high) == pytest.approx((4.8923, 4.9256))
    assert to_json(shown)["table"][1]["chroma_low"] is None
    assert not any("confidence" in note for note in notes(summary()))


def test_calibration_rows_are_named_as_such():
    shown = summary(calibration=["musicgen_stereo_small"])
    assert "calibration, 5,521 of 5,521 clips" in one_line(printed(shown, 120))
    assert "| musicgen_stereo_small (calibration) " in to_markdown(shown)
    assert table(shown)["calibration"].tolist() == [False, True]


def test_slices_are_a_table_for_each_kind_of_group():
    rows = [
        {"slice": "tag", "group": group, "model": "m", "metric": metric, "value": 1.5, "low": 1.0, "high": 2.0, "n": n}
        | {"protocol": "musicgen", "higher_is_better": False, "note": "", "small": n < 30}
        for group, n in (("piano", 40), ("a|b", 3))
        for metric in ("fad", "kld")
    ]
    shown = summary(slices=pd.DataFrame(rows), small_slice=30)
    text = to_markdown(shown).split("## Slices")[1]
    assert "| m " in text and "| piano |" in text.replace("  ", " ").replace("  ", " ")
    assert text.count("(n 3, small)") == 2 and text.count("(n 40)") == 2
    assert "a\\|b" in text and "fewer than 30 clips" in text
    rows[-1] |= {"value": math.nan, "n": 0, "note": "too few"}
    assert "- tag a\\|b: too few" in to_markdown(summary(slices=pd.DataFrame(rows), small_slice=30))
    assert len(to_json(shown)["slices"]) == 4
