"""The figures of generation, as JSON and as a page that can be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.metrics_report import BY_HAND, table

SIDES = {"evalkit": "evalkit", "transformers": "`generate()`"}
FULL, SECONDS, MUSICCAPS = 503, 10, 5521
# times the roofline's time, on a GPU with evalkit's own kernels
ROOFLINE_BAR = {f"stereo-{size}:128": 1.4 for size in ("small", "medium", "large")}
ATTENTION = {
    "triton": "evalkit's kernels",
    "efficient": "torch's memory-efficient attention",
    "math": "torch's plain attention",
    "torch": "torch's attention",
}
SETTINGS = {"usual": "as evalkit sets them", "invariant": "batch-invariant"}


def write(path: Path, found: dict[str, Any]) -> None:
    """Put figures into a JSON file, beside the cases it has, and write the page next to it anew."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    merged = {key: known.get(key, {}) | found.get(key, {}) for key in ("cases", "identical")}
    known |= found | merged
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    page = path.with_suffix(".md")
    before = page.read_text("utf-8") if page.exists() else ""
    kept = before[before.index(BY_HAND) :] if BY_HAND in before else ""
    page.write_text("\n".join(lines(known)) + "\n" + (f"\n{kept}" if kept else ""), "utf-8")


def lines(found: dict[str, Any]) -> list[str]:
    page = ["# Generation against transformers' `generate()`", ""]
    if "machine" in found:
        page += machine(found)
    failed = {name: case["failed"] for name, case in found["cases"].items() if "failed" in case}
    found = found | {"cases": {name: case for name, case in found["cases"].items() if name not in failed}}
    if failed:
        page += [f"**{name} was not measured:** {reason}\n" for name, reason in failed.items()]
    if found["cases"]:
        page += speed(found) + roofline(found) + greedy(found)
    page += neighbours(found)
    if "invariance" in found:
        page += invariance(found["invariance"])
    if "backends" in found:
        page += backends(found["backends"])
    if "whole" in found:
        page += whole(found["whole"])
    if "everything" in found:
        page += everything(found["everything"])
    return page


def machine(found: dict[str, Any]) -> list[str]:
    about = found["machine"]
    turns = (
        "in turns"
        if found["device"] == "cpu"
        else "one after the other, because memory does not hold the batches of both"
    )
    return [
        f"{about.get('gpu', about['cpu'])}, {found['threads']} threads on both sides, {found['dtype']}; "
        f"{found['date']}; Python {about['python']}, "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        + f". Load of the machine before and after: {found['load'][0]:.1f}, {found['load'][1]:.1f}. "
        f"A copy moves {found['bandwidth'] / 1e9:,.1f} GB/s (read and written), a matrix product does "
        f"{found['rate'] / 1e9:,.0f} GFLOP/s.",
        "",
        "All weights are random, at the sizes of the published checkpoints, with T5-base and EnCodec 32 kHz (tiny is "
        "tiny throughout): speed does not depend on them, and nothing here says anything about music. One process, "
        f"the same weights, captions of 65–100 tokens and batch on both sides, which run {turns}; guidance 3, top-k "
        "250, sampling.",
        "",
    ]


def verdict(value: float | None, bar: float | None) -> str:
    return "–" if bar is None or value is None else f"{bar:g}: {'met' if value >= bar else '**missed**'}"


def cell(side: dict[str, Any], form: Callable[[dict[str, Any]], str]) -> str:
    """A figure of a side, or why there is none."""
    return side.get("failed") or form(side)


def speed(found: dict[str, Any]) -> list[str]:
    cpu, rows = found["device"] == "cpu", []
    for name, case in found["cases"].items():
        size, batch = name.split(":")
        sides = [case[side] for side in reversed(SIDES)]
        pairs = [run for run in case["runs"] if len(run) == 2]
        ratios = [run["transformers"]["ms_per_step"] / run["evalkit"]["ms_per_step"] for run in pairs]
        fewer = case.get("fewer_steps", case["steps"])
        planned = case.get("planned")
        rows.append(
            [
                *(size, batch, f"{case['steps']}" + (f", `generate()` {fewer}" if fewer != case["steps"] else "")),
                *(cell(side, lambda s: f"{s['ms_per_step']:.1f} ({s['median']:.1f})") for side in sides),
                f"**{case['ratio']:.2f}**" if case["ratio"] else "–",
                f"{min(ratios):.2f}–{max(ratios):.2f}" if ratios else "–",
                verdict(case["ratio"], case["bar"]),
                *(cell(side, lambda s: f"{s['clips_per_second']:.3g}") for side in sides),
                *(cell(side, lambda s: f"{s['peak'] / 2**20:,.0f}") for side in sides),
                *([] if cpu else ["–" if planned is None else f"{planned / 2**20:,.0f}"]),
                *([] if cpu else [cell(side, lambda s: f"{s['reserved'] / 2**20:,.0f}") for side in sides]),
            ]
        )
    header = ["network", "clips at once", "steps timed", "`generate()`, ms/step", "evalkit, ms/step", "times as fast"]
    header += ["of single pairs", "bar", "`generate()`, clips/s", "evalkit, clips/s", "`generate()`, MB", "evalkit, MB"]
    header += [] if cpu else ["evalkit planned, MB", "`generate()` reserved, MB", "evalkit reserved, MB"]
    return [
        "## Tokens",
        "",
        "Milliseconds per step are the least of the runs (and their median), the ratio is "
        + ("the median of pairs" if cpu else "that of the least times")
        + "; without the text encoder, which is the same for both, and without decoding audio. `generate()` uses its "
        f"fastest attention. A 10-s clip takes {FULL} steps: where fewer were timed, clips/s are extrapolated from "
        "them, which flatters `generate()`, whose steps grow faster with the history than evalkit's. MB are what "
        "memory in use grew by at its peak over the steps timed, weights not counted"
        + ("." if cpu else "; what torch had reserved from the GPU counts weights, and memory in pieces too small."),
        "",
        *table(header, rows),
        *facts(found["cases"]),
    ]


def facts(cases: dict[str, Any]) -> list[str]:
    """How evalkit's steps were computed, where it is said."""
    said = {name: computed(case["facts"]) for name, case in cases.items() if "facts" in case}
    if len(set(said.values())) == 1:
        return [f"evalkit's steps: {next(iter(said.values()))}.", ""]
    return ["evalkit's steps: " + "; ".join(f"{name} {how}" for name, how in said.items()) + ".", ""] if said else []


def computed(facts: dict[str, Any]) -> str:
    graphs = "recorded as CUDA graphs" if facts["graphs"] else "launched one by one"
    return ATTENTION[facts["attention"]] + ("" if facts["attention"] == "torch" else f", {graphs}")


def roofline(found: dict[str, Any]) -> list[str]:
    rows = []
    for name, case in found["cases"].items():
        size, batch = name.split(":")
        least = case["floor"]
        bounds = [least["bytes"] / found["bandwidth"], least["operations"] / found["rate"]]
        own = case.get("facts", {}).get("attention") == "triton"
        bar, share = ROOFLINE_BAR.get(name) if own else None, case["evalkit"].get("share_of_floor")
        rows.append(
            [
                *(size, batch, f"{least['bytes'] / 2**20:,.0f}", f"{least['operations'] / 1e9:,.2f}"),
                f"{1000 * least['seconds']:.2f} ({'memory' if bounds[0] > bounds[1] else 'arithmetic'})",
                *(cell(case[side], lambda s: f"{100 * s['share_of_floor']:.0f} %") for side in reversed(SIDES)),
                "–" if bar is None or share is None else f"{1 / share:.2f} × the least, {verdict(share, 1 / bar)}",
            ]
        )
    header = ["network", "clips at once", "MB/step", "GFLOP/step", "least ms/step", "`generate()`", "evalkit", "bar"]
    if found["device"] != "cpu":
        header[-1] = "bar: at most 1.4 × the least"
        rows = [[*row[:-1], row[-1].replace(f" {1 / 1.4:g}:", "")] for row in rows]
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
        ties = equal.get("clips_with_a_tie")
        said = "all equal" if not ties else f"equal, but in {ties} clip(s) after a tie"
        said = f"**{equal['failed']}**" if "failed" in equal else said
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


def invariance(found: dict[str, Any]) -> list[str]:
    """The same clips in batches of several sizes, with settings of cuBLAS that are for it and without."""
    sizes = list(next(iter(found.values()))["ms_per_step"])
    times = [
        [
            *(SETTINGS[name], *(f"{one['ms_per_step'][size]:.2f}" for size in sizes)),
            ", ".join(size for size in sizes if one["repeated"][size]) or "none",
        ]
        for name, one in found.items()
    ]
    rows = [
        [
            *(SETTINGS[name], f"{row['batches'][0]} and {row['batches'][1]}", f"{row['clips']}"),
            *(f"{100 * row[key]:.2f} %" for key in ("tokens", "whole_clips")),
        ]
        for name, one in found.items()
        for row in one["pairs"]
    ]
    one = next(iter(found.values()))
    return [
        "## Batches of other sizes, and cuBLAS",
        "",
        f"{one['size']}, {one['steps']} steps, {computed(one['facts'])}; each setting in a process of its own. "
        "Batch-invariant: `CUBLAS_WORKSPACE_CONFIG=:16:8`, `CUBLASLT_WORKSPACE_SIZE=1`, cublasLt preferred, sums of "
        "products not divided. As evalkit sets them: no sums in 16 bits, which holds for both.",
        "",
        *table(["settings", "clips at once", "clips compared", "equal tokens", "equal clips"], rows),
        "Milliseconds per step, the least of the runs, and the sizes of batches that were equal when made again:",
        "",
        *table(["settings", *(f"{size} clips" for size in sizes), "the same again"], times),
    ]


def backends(found: dict[str, Any]) -> list[str]:
    rows = []
    for row in found["rows"]:
        said = "the first" if row.get("first") else "equal"
        if "differ" in row:
            said = f"**{row['differ']}**"
        if row.get("ties"):
            said = f"equal, but in {row['ties']} clip(s) after a tie"
        graphs = "yes" if row["graphs"] else "no"
        if "failed" in row:
            rows.append([f"{row['clips']}", row["asked"], graphs, f"not measured: {row['failed']}", "–", "–"])
            continue
        used = row["facts"]
        graphs = graphs if used["graphs"] == row["graphs"] else "refused"
        rows.append(
            [
                *(f"{row['clips']}", ATTENTION[used["attention"]], graphs, f"{row['ms_per_step']:.2f}"),
                *(f"{row['peak'] / 2**20:,.0f}", said),
            ]
        )
    header = ["clips at once", "attention", "CUDA graphs", "ms/step", "MB", "greedy tokens"]
    return [
        "## Kernels and graphs",
        "",
        f"evalkit against itself on {found['size']}, {found['rows'][0]['steps']} steps: its own kernels and torch's "
        "attention (`engine.attention`), steps recorded as CUDA graphs and launched one by one (`engine.cuda_graphs`). "
        "Greedy tokens are compared with those of the first that ran at the same batch.",
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
