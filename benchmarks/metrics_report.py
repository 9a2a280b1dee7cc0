"""The figures of the metric stage, as JSON and as a page that can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TITLES = {
    "fad": "FAD",
    "kld": "KLD",
    "clap_score": "CLAP score",
    "together": "all three",
    "production_quality": "Audiobox Aesthetics",
    "fad_mert": "FAD on MERT, of frames",
    "fad_muq": "FAD on MuQ",
    "mad": "MAD, on the smaller MERT",
}
PACKAGES = {
    "fad": "frechet-audio-distance, `score()`",
    "kld": "audiocraft's loop around hear21passt",
    "clap_score": "laion_clap, `get_audio_embedding_from_filelist`",
    "together": "the three packages one after the other",
    "production_quality": "audiobox_aesthetics, `AesPredictor.forward`",
    "fad_mert": "fadtk's `MERTModel` and FAD, restated",
    "fad_muq": "muq, `MuQ.forward`, on the layers of a current transformers",
    "mad": "mad_metric's `MERT330M` and mauve, `compute_mauve`",
}
BY_HAND = "## What was tried"  # this heading and what follows is written by hand, and kept


def write(path: Path, found: dict[str, Any]) -> None:
    """Put figures into a JSON file, beside those it has, and write the page next to it anew."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    known |= found
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    page = path.with_suffix(".md")
    before = page.read_text("utf-8") if page.exists() else ""
    kept = before[before.index(BY_HAND) :] if BY_HAND in before else ""
    page.write_text("\n".join(lines(known)) + "\n" + (f"\n{kept}" if kept else ""), "utf-8")


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows]] + [""]


def lines(found: dict[str, Any]) -> list[str]:
    page = ["# The metric stage against the packages", ""]
    if "metrics" in found:
        page += speed(found)
    if "memory" in found:
        page += memory(found["memory"])
    return page


def speed(found: dict[str, Any]) -> list[str]:
    machine = found["machine"]
    page = [
        f"{machine.get('gpu', machine['cpu'])}, {found['threads']} threads on both sides; Python {machine['python']}, "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        + ".",
        "",
        f"{found['clips']} references and as many generated {found['seconds_per_clip']}-s stereo clips, real music and "
        "synthesized; the same seeded weights; decoding, resampling, embedding and statistic, nothing cached. Seconds "
        "are the least of the runs, ratios the median of runs in turns. CPU seconds are those of all threads. "
        f"Load of the machine before and after: {found['load'][0]:.1f}, {found['load'][1]:.1f}.",
        "",
    ]
    rows = []
    for name, result in found["metrics"].items():
        best = {key: min(run[key] for run in result["runs"]) for key in result["runs"][0]}
        rows.append(
            [
                TITLES[name],
                PACKAGES[name],
                f"{best['package']:.1f}",
                f"{best['evalkit']:.1f}",
                f"**{result['ratio']:.2f}**",
                f"{best['package_cpu']:.1f}",
                f"{best['evalkit_cpu']:.1f}",
                f"{result['ratio_cpu']:.2f}",
                f"{result['bar']:g}",
            ]
        )
    header = ["metric", "package", "package, s", "evalkit, s", "times as fast", "package, CPU s", "evalkit, CPU s"]
    page += table([*header, "ratio of CPU s", "bar"], rows)
    page += ["Largest differences between the two sides (of values relative, of features absolute):", ""]
    page += table(["quantity", "difference"], [[key, f"{value:.1e}"] for key, value in found["differences"].items()])
    page += ["Where the time of one clip goes, seconds of one thread:", ""]
    rows = [
        [TITLES[name], side, *(f"{seconds[stage]:.3f}" for stage in ("decode", "resample", "network"))]
        for name, sides in found["stages"].items()
        if name in TITLES
        for side, seconds in sides.items()
    ]
    page += table(["metric", "side", "decode", "resample, downmix", "front end and network"], rows)
    statistic = found["stages"]["statistic of FAD"]
    page += [
        f"FAD's statistic takes {statistic['package']:.3f} s in the package and {statistic['evalkit']:.3f} s here. "
    ]
    if "share_waiting_for_audio" in found:
        waited = 100 * found["share_waiting_for_audio"]
        page[-1] += f"Of the time for all three metrics evalkit waits {waited:.1f} % for audio. "
    page[-1] += (
        f"At this speed the metric stage takes {found['seconds_for_musiccaps'] / 60:.1f} minutes for MusicCaps' 5,521 "
        f"pairs (extrapolated{' from the figures below' if 'many' in found else ''})."
    )
    return [*page, "", *many(found["many"])] if "many" in found else [*page, ""]


def many(found: dict[str, Any]) -> list[str]:
    page = [
        f"The feature stage by itself over {found['clips']} clips, with all three encoders, from files to the cache; "
        "and each encoder alone, on clips that are decoded and resampled:",
        "",
    ]
    each = [*found["encoders"].items(), ("together", found)]
    keys = [key for key in ("clips_per_second", "peak_mb", "peak_reserved_mb") if key in found]
    rows = [[TITLES[name], *(f"{speed[key]:.1f}" for key in keys)] for name, speed in each]
    header = {"clips_per_second": "clips per second", "peak_mb": "peak of the GPU's memory, MB"}
    return page + table(["encoder of", *(header.get(key, "peak that torch reserved, MB") for key in keys)], rows)


def memory(rows: list[dict[str, float]]) -> list[str]:
    page = [
        "## Memory",
        "",
        "Peak of the process, in MB, over so many pairs of 10-s clips: decoding, resampling, loudness, the preparation "
        "of all four encoders' input, chroma, cache, statistics and 1,000 resamples of each metric. The forward passes "
        "of the three networks are replaced by constants: they see one clip at a time however many there are.",
        "",
    ]
    keys = ["after_loading_mb", "after_embedding_mb", "peak_mb", "features_mb", "weights_of_resamples_mb"]
    header = ["pairs of clips", "before", "after embedding", "peak with bootstrap", "of this features", "of this draws"]
    return page + table(header, [[f"{row['clips']:g}", *(f"{row[key]:.0f}" for key in keys)] for row in rows])
