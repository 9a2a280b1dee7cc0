"""LaTeX: what a paper takes in, and that nothing in it acts instead of showing."""

from __future__ import annotations

import re
import shutil
import string
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.report.document import Column, Document, Item, Listing, Quantity, Row, Table
from evalkit.report.to_latex import SPECIAL, escaped, render
from evalkit.results.joined import join
from evalkit.results.summary import document as said

from ..results.made import VALUES, record
from ..results.made_comparison import comparison, group, moved
from ..results.made_comparison import metric as compared

ONE = {"musicgen_small": VALUES["musicgen_small"]}


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def rows(text: str) -> list[str]:
    """The rows of all tables, without what makes them small."""
    found = [line for line in lines(text) if line.endswith(r" \\")]
    return [re.sub(r"\{\\scriptsize ((?:[^{}]|\{[^{}]*\})*)\}", r"\1", line[:-3]).strip() for line in found]


def caption(text: str) -> str:
    return next(line for line in lines(text) if line.startswith(r"\caption{"))


def test_several_models_stand_below_each_other_with_what_is_known_of_a_value_below_it() -> None:
    text = render(said(record(spread=0.04, n={"clap_score": 11})))
    assert rows(text)[2:6] == [
        r"musicgen\_small & 4.903 & 1.403 & 0.269 & 0.101",
        "12 of 12 clips & {[}4.863, 4.943{]} & {[}1.363, 1.443{]} & {[}0.229, 0.309{]} & {[}0.061, 0.141{]}",
        "& n 12 & n 12 & n 11 & n 12",
        r"& 4.88 (+0.02) & 1.42 ($-$0.02) & 0.27 ($\pm$0.00) &",
    ]
    assert rows(text)[:2] == [
        "&  &  &  & Chroma cosine",
        r"& FAD $\downarrow$ & KLD $\downarrow$ & CLAP score $\uparrow$ & similarity $\uparrow$",
    ]
    assert lines(text).count(r"\addlinespace") == 1
    assert [line for line in lines(text) if "tabular" in line or "rule" in line] == [
        r"\begin{tabular}{@{}lrrrr@{}}", r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip


def test_the_metrics_of_one_model_stand_below_each_other() -> None:
    text = render(said(record(ONE, spread=0.04)))
    assert rows(text)[:4] == [
        r"musicgen\_small &  &  &  &",
        "12 of 12 clips & measured & interval & published & difference",
        r"FAD $\downarrow$ & 4.903 & {[}4.863, 4.943{]} & 4.88 & +0.02",
        r"KLD $\downarrow$ & 1.403 & {[}1.363, 1.443{]} & 1.42 & $-$0.02",
    ]


@pytest.mark.parametrize("values", [ONE, VALUES], ids=["one model", "two"])
def test_the_caption_says_what_was_measured_and_what_the_intervals_are(values: dict[str, dict[str, float]]) -> None:
    text = render(said(record(values, spread=0.04)))
    for part in ("musiccaps, subset all: 12 of 12 prompts, protocol musicgen.", "Intervals: 0.95 confidence"):
        assert part in caption(text)
    assert text.lower().count("intervals: ") == 1  # and not again in the notes
    assert r"$\downarrow$ lower is better" in caption(text) and r"measured $-$ published" in caption(text)
    assert r"published: MusicGen model card, https://example.org/card.\par" in lines(text)
    assert r"\label{tab:musiccaps}\smallskip" in lines(text)


def test_results_in_one_table_have_one_caption() -> None:
    older = record(path=Path("runs/older"), spread=0.1)
    newer = record({"next": VALUES["musicgen_small"]}, path=Path("runs/newer"), spread=0.2)
    text = render(join([older, newer], False))
    assert "Intervals: 0.95 confidence, over prompts." in caption(text) and text.lower().count("intervals: ") == 1
    assert {"musicgen\\_small", "next"} <= {row.partition(" & ")[0] for row in rows(text)}


def test_a_comparison_is_one_table_and_one_of_each_listing() -> None:
    made = comparison(
        [compared(), compared("kld", "BREACH", effect="better on 58 % of prompts")],
        [group(change="worse")],
        [moved()],
        outcome="NO-GO",
        reasons=["KLD is worse"],
    )
    text = render(made.document())
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert r"\caption{\textbf{NO-GO: finetuned against musicgen\_small.} musiccaps, subset all" in text
    assert r"KLD is worse.\par" in lines(text)
    assert rows(text)[4:6] == [
        r"KLD $\downarrow$ & 4.903 & +0.025 & 0.245 & 0.372 & BREACH",
        r"critical & 4.931 & {[}$-$0.031, 0.081{]} & 0.081 & 500 & better on 58 \% of prompts",
    ]
    assert r"\caption{\textbf{Slices that moved most.}" in text and r"tag: piano & 1.400 & +0.100" in text
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels == [f"tab:finetuned-against-musicgen-small{end}" for end in ("", "-2", "-3")]
    assert ".wav" not in text and ".flac" not in text  # files that a reader of the paper does not have


def test_long_words_of_a_listing_are_broken_between_lines() -> None:
    words = [[Quantity("word", "why", "word")], [Quantity("n", "n", "count")]]
    for text, form in (("short", "lr"), ("long " * 10, r">{\raggedright\arraybackslash}p{0.28\linewidth}r")):
        made = Document("t", "h", Listing(words, [Item({"word": text, "n": 3}, {})]))
        assert rf"\begin{{tabular}}{{@{{}}{form}@{{}}}}" in lines(render(made))


def test_a_warning_comes_first_and_what_is_left_out_is_named() -> None:
    slices = Table([Column("fad", "FAD")], [Row({"model": "m"}, {"fad": {"value": 1.0}})], title="Slices: tag")
    text = render(replace(said(record()), warning="Random weights: VGGish.", more=[slices]))
    assert caption(text).startswith(r"\caption{\textbf{Random weights: VGGish.} musiccaps")
    assert "% left out, but in the Markdown form: Slices: tag" in lines(text)


def test_without_rows_there_are_a_caption_and_notes() -> None:
    text = render(Document("t", "nothing measured", Table([], []), notes=["why"]))
    assert r"\caption{nothing measured.}" in lines(text) and r"why.\par" in lines(text) and "tabular" not in text


ACTIVE = {  # what LaTeX does with each character of its own, by the LaTeX Companion: it must be written otherwise
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


@pytest.mark.parametrize("character", ACTIVE)
def test_what_acts_in_latex_is_shown(character: str) -> None:
    assert escaped(f"a{character}b") == f"a{ACTIVE[character]}b"
    name = f"a{character}b{character * 2}"
    row = Row({"model": name, name: name}, {"m": {"value": 1.0}}, {name: name})
    table = Table([Column("m", name)], [row, row], title=name, intro=name, notes=[name])
    listing = Listing([[Quantity("word", name, "word", name)]], [Item({"word": name}, {})], name, name, [name])
    text = render(Document(name, name, table, name, [name], [table, listing], outcome=name, reasons=[name]))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("% "))
    assert body.count(f"a{ACTIVE[character]}b") >= 15
    assert f"a{character}b" not in body.replace(ACTIVE[character], "")


def test_no_two_characters_become_another_one() -> None:
    assert escaped("-- --- ,, '' a-b") == "-{}- -{}-{}- ,{}, '{}' a-b"
    assert escaped("?` << >>") == r"?\textasciigrave{} \textless{}\textless{} \textgreater{}\textgreater{}"


def test_a_row_that_begins_with_a_bracket_or_a_star_does_not_belong_to_the_row_before() -> None:
    names = [Row({"model": name}, {"m": {"value": 1.0}}) for name in ("a", "[b]", "*c")]
    assert rows(render(Document("t", "h", Table([Column("m", "M")], names))))[1:] == [
        "a & 1.000", "{[}b{]} & 1.000", "{*}c & 1.000",
    ]  # fmt: skip


def test_letters_of_other_scripts_need_another_engine_and_a_comment_says_so() -> None:
    def made(name: str) -> list[str]:
        rows = [Row({"model": name}, {"m": {"value": 1.0}})]
        return lines(render(Document("t", "h", Table([Column("m", "M ≤ 2 → ‖x‖")], rows))))

    needs = r"% made by evalkit; it needs \usepackage{booktabs,array}"
    assert made("plain")[:2] == [needs, r"\begin{table}"]
    assert made("naïve Ł")[:2] == [needs, r"% and \usepackage[T1]{fontenc}"]
    assert made("音楽")[1] == "% and, for U+697D, U+97F3, LuaLaTeX or XeLaTeX with a font that has them"


def test_an_address_may_be_broken() -> None:
    url = "https://github.com/facebookresearch/audiocraft"
    text = render(Document("t", "h", Table([], []), notes=[f"see {url}", "and/or"]))
    assert (
        r"see https:/\allowbreak{}/\allowbreak{}github.com/\allowbreak{}facebookresearch" in text and "and/or" in text
    )


def judged(values: dict[str, dict[str, float]]) -> Document:
    made = record(values, spread=0.04)
    verdicts = ["REPRODUCED", "DIFFERS (higher)", "NOT COMPARABLE", *[""] * (len(made.scores) - 3)]
    return said(replace(made, scores=made.scores.assign(verdict=verdicts)))


def test_a_verdict_of_two_words_stands_on_two_lines() -> None:
    assert rows(render(judged(VALUES)))[5:7] == [
        "& REPRODUCED & DIFFERS & NOT &", "&  & (higher) & COMPARABLE &",
    ]  # fmt: skip
    first, second = rows(render(judged(ONE)))[3:5]
    assert first.endswith(r"& 1.42 & $-$0.02 & DIFFERS") and second.endswith("&  &  & (higher)")


def compiled(folder: Path, documents: Sequence[Document]) -> str:
    """The log of LaTeX on a paper with these documents."""
    body = "\n".join(map(render, documents))
    packages = r"\usepackage{booktabs,array}\usepackage[T1]{fontenc}"
    (folder / "paper.tex").write_text(
        rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}", "utf-8"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-draftmode", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_four_metrics_with_verdicts_fit_a_page(tmp_path: Path) -> None:
    assert "Overfull" not in compiled(tmp_path, [judged(VALUES), judged(ONE)])


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_it_compiles_whatever_names_are(tmp_path: Path) -> None:
    every = " ".join([string.printable, *SPECIAL, "é ß Ł ő ž ''' --- ```"])
    names = {f"{every} {k}": VALUES["musicgen_small"] for k in range(3)}
    compared_names = comparison([compared(title=every, effect=every)], [group(name=every)], [moved(every)])
    documents = [
        said(record(names, published={}, spread=0.1, remarks=[every])),
        said(record({every: VALUES["musicgen_small"]}, published={}, clips={every: ["failed"] * 12})),
        compared_names.document(),
    ]
    compiled(tmp_path, documents)
