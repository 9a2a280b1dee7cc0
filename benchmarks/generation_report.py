"""The figures of generation, as JSON and as a page that can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.metrics_report import BY_HAND, table

SIDES = {"evalkit": "evalkit", "transformers": "`generate()`"}
FULL, SECONDS, MUSICCAPS = 503, 10, 5521
ROOFLINE_BAR = {"stereo-medium:128": 1.5}  # times the roofline's time, on a GPU


def write(path: Path, found: dict[str, Any]) -> None:
    """Put figures into a JSON file, beside the cases it has, and write the page next to it anew."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    cases = known.get("cases", {}) | found["cases"]
    same = known.get("identical", {}) | found["identical"]
    known |= found | {"cases": cases, "identical": same}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    page = path.with_suffix(".md")
    before = page.read_text("utf-8") if page.exists() else ""
    kept = before[before.index(BY_HAND) :] if BY_HAND in before else ""
    page.write_text("\n".join(lines(known)) + "\n" + (f"\n{kept}" if kept else ""), "utf-8")


def lines(found: dict[str, Any]) -> list[str]:
    page = ["# Generation against transformers' `generate()`", "", *machine(found)]
    if found["cases"]:
        page += speed(found) + roofline(found) + greedy(found)
    page += neighbours(found)
    if "whole" in found:
        page += whole(found["whole"])
    if "everything" in found:
        page += everything(found["everything"])
    return page


def machine(found: dict[str, Any]) -> list[str]:
    about = found["machine"]
    return [
        f"{about.get('gpu', about['cpu'])}, {found['threads']} threads on both sides, {found['dtype']}; "
        f"{found['date']}; Python {about['python']}, "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        + f". Load of the machine before and after: {found['load'][0]:.1f}, {found['load'][1]:.1f}. "
        f"A copy moves {found['bandwidth'] / 1e9:.1f} GB/s (read and written), a matrix product does "
        f"{found['rate'] / 1e9:,.0f} GFLOP/s.",
        "",
        "All weights are random, at the sizes of the published checkpoints, with T5-base and EnCodec 32 kHz (tiny is "
        "tiny throughout): speed does not depend on them, and nothing here says anything about music. One process, "
        "the same weights, captions of 65–100 tokens and batch on both sides, which run in turns; guidance 3, top-k "
        "250, sampling.",
        "",
    ]


def verdict(value: float, bar: float | None) -> str:
    return "–" if bar is None else f"{bar:g}: {'met' if value >= bar else '**missed**'}"


def speed(found: dict[str, Any]) -> list[str]:
    rows = []
    for name, case in found["cases"].items():
        size, batch = name.split(":")
        cells = [f"{case[side]['ms_per_step']:.1f} ({case[side]['median']:.1f})" for side in reversed(SIDES)]
        ratios = [run["transformers"]["ms_per_step"] / run["evalkit"]["ms_per_step"] for run in case["runs"]]
        rows.append(
            [
                *(size, batch, f"{case['steps']}", *cells, f"**{case['ratio']:.2f}**"),
                f"{min(ratios):.2f}–{max(ratios):.2f}",
                verdict(case["ratio"], case["bar"]),
                *(f"{case[side]['clips_per_second']:.3g}" for side in reversed(SIDES)),
                *(f"{case[side]['peak'] / 2**20:,.0f}" for side in reversed(SIDES)),
            ]
        )
    header = ["network", "clips at once", "steps timed", "`generate()`, ms/step", "evalkit, ms/step", "times as fast"]
    header += ["of single pairs", "bar", "`generate()`, clips/s", "evalkit, clips/s", "`generate()`, MB", "evalkit, MB"]
    return [
        "## Tokens",
        "",
        "Milliseconds per step are the least of the runs (and their median), the ratio is the median of pairs; without "
        "the text encoder, which is the same for both, and without decoding audio. `generate()` uses its faster "
        f"attention. A 10-s clip takes {FULL} steps: where fewer were timed, clips/s are extrapolated from them, which "
        "flatters `generate()`, whose steps grow faster with the history than evalkit's. MB are what memory in use "
        "grew by at its peak over the steps timed, weights not counted.",
        "",
        *table(header, rows),
    ]


def roofline(found: dict[str, Any]) -> list[str]:
    rows = []
    for name, case in found["cases"].items():
        size, batch = name.split(":")
        least = case["floor"]
        bounds = [least["bytes"] / found["bandwidth"], least["operations"] / found["rate"]]
        bar = ROOFLINE_BAR.get(name) if found["device"] != "cpu" else None
        rows.append(
            [
                *(size, batch, f"{least['bytes'] / 2**20:,.0f}", f"{least['operations'] / 1e9:,.2f}"),
                f"{1000 * least['seconds']:.2f} ({'memory' if bounds[0] > bounds[1] else 'arithmetic'})",
                *(f"{100 * case[side]['share_of_floor']:.0f} %" for side in reversed(SIDES)),
                verdict(case["evalkit"]["share_of_floor"], bar and 1 / bar),
            ]
        )
    header = ["network", "clips at once", "MB/step", "GFLOP/step", "least ms/step", "`generate()`", "evalkit", "bar"]
    return [
        "## Share of the roofline",
        "",
        "The least time of a step: all weights read once and keys and values exactly as far as they are filled, at the "
        "speed of the copy, or all multiplications at that of the matrix product, whichever is longer; on average over "
        "the steps timed. Sampling, noise, norms and activations count as nothing. The share is that time over the "
        "measured one.",
        "",
        *table(header, rows),
    ]


def greedy(found: dict[str, Any]) -> list[str]:
    rows = []
    for name, case in found["cases"].items():
        size, batch = name.split(":")
        equal = case["greedy"]
        ties = equal["clips_with_a_tie"]
        said = "all equal" if not ties else f"equal, but in {ties} clips after a tie"
        tried = ", ".join(f"{attention} {seconds:.2f} s" for attention, seconds in case["attention"].items())
        rows.append([size, batch, f"{equal['clips']} × {equal['steps']}", said, tried])
    return [
        "Before each case both sides chose greedy tokens, which must be equal as long as no two logits are; and "
        "`generate()` tried its attentions:",
        "",
        *table(["network", "clips at once", "clips × steps", "greedy tokens", "`generate()`'s attention"], rows),
    ]


def neighbours(found: dict[str, Any]) -> list[str]:
    rows = [
        [
            *(size, f"{row['batches'][0]} and {row['batches'][1]}", f"{row['clips']}", f"{row['frames']}"),
            *(f"{100 * row[key]:.2f} %" for key in ("tokens", "whole_clips")),
        ]
        for size, pairs in found["identical"].items()
        for row in pairs
    ]
    if not rows:
        return []
    header = ["network", "clips at once", "clips compared", "frames of each", "equal tokens", "equal clips"]
    return [
        "## The same clip in other batches",
        "",
        "Sampled tokens of the same prompt and seed, from batches of two sizes; where the sizes are the same, the "
        "prompts beside it are others. After a first token that differs, what follows is another clip.",
        "",
        *table(header, rows),
    ]


def whole(found: dict[str, Any]) -> list[str]:
    size, batch = found["case"].split(":")
    best = {side: min(run[side] for run in found["runs"]) for side in SIDES}
    frames = found["steps"] - 3
    # the text is read once however long the clip is
    long = {s: t if s == "text" or t is None else t * FULL / found["steps"] for s, t in found["stages"].items()}
    total = sum(seconds for seconds in long.values() if seconds is not None)
    rows = [
        [
            stage,
            *("in the decoder's" if t is None else f"{t:.2f}" for t in (found["stages"][stage], seconds)),
            "–" if seconds is None else f"{100 * seconds / total:.1f} %",
        ]
        for stage, seconds in long.items()
    ]
    theirs = found["audiocraft"]
    if not isinstance(theirs, str):
        own = sum(found["stages"][stage] or 0 for stage in ("decoder", "noise and sampling"))
        theirs = f"{theirs:.1f} ms/step, where evalkit's decoder and sampling take {1000 * own / found['steps']:.1f}"
    extrapolated = f" ({found['steps']} steps; a 10-s clip has {FULL}, to which the last columns are extrapolated)"
    return [
        "## From captions to samples",
        "",
        f"{batch} clips of {frames / 50:g} s at once, {size}{extrapolated if frames < 500 else ''}: transformers' "
        f"text-to-audio pipeline takes {best['transformers']:.1f} s in one batch of these, evalkit "
        f"{best['evalkit']:.1f} s, **{found['ratio']:.2f}** times as fast (median of {len(found['runs'])} pairs). "
        "Where evalkit's time goes, with writing FLAC files, which in a run is done beside the next batch:",
        "",
        *table(["stage", "s", "s for 10-s clips", "share"], rows),
        f"audiocraft's own `LM.generate()` of the same sizes, batch and steps: {theirs}.",
        "",
    ]


def everything(found: dict[str, Any]) -> list[str]:
    each = found["seconds"] / found["clips"]
    return [
        "## All of MusicCaps",
        "",
        f"{found['clips']} clips of {found['clip_seconds']:g} s, {found['size']}, from captions to FLAC files, with "
        f"all that a run overlaps, {found['batch']} at once: {found['seconds']:.0f} s, {1 / each:.2f} clips/s. "
        f"Extrapolated to {MUSICCAPS:,} clips: {each * MUSICCAPS / 60:.1f} minutes.",
        "",
    ]
