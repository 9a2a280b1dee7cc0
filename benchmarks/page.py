"""How large the page of a report is, and how fast: 5,521 prompts of two systems with four metrics, without audio.

    OMP_NUM_THREADS=1 python -m benchmarks.page [--part page|table|all]

Captions and tags are random words, as many and as long as those of MusicCaps; values are random numbers. The page is
opened in a headless Chromium, where the table of all clips is sorted, searched and scrolled. "CPU" is what the page's
own thread computes, script, style, layout and painting together, which other work on the machine hardly changes; other
times are by the clock, from the event to the end of the layout that follows it. Writes results/benchmarks/page.json.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import parts
from benchmarks.parts import Row

if TYPE_CHECKING:
    from evalkit.page.view import View

JSON = Path("results/benchmarks/page.json")
PROMPTS = 5521
SYSTEMS = ("small", "large")
STEPS = (100, 1000, 20_000)  # pixels from one frame to the next
TAGS = 13_000  # different ones, in all of MusicCaps

# what the page measures of itself
TIMED = """async ([name, value]) => {
  const act = {
    sort: () => document.querySelectorAll('#rows-table thead button')[value].click(),
    search: () => {
      const field = document.getElementById('rows-search');
      field.value = value;
      field.dispatchEvent(new Event('input', {bubbles: true}));
    },
    tag: () => {
      const field = document.getElementById('rows-tag');
      field.value = value;
      field.dispatchEvent(new Event('change', {bubbles: true}));
    },
    system: () => {
      const field = document.getElementById('rows-system');
      field.value = value;
      field.dispatchEvent(new Event('change', {bubbles: true}));
    },
  }[name];
  const start = performance.now();
  act();
  document.getElementById('rows-region').getBoundingClientRect();
  const taken = performance.now() - start;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return taken;
}"""
SCROLLED = """async (step) => {
  const region = document.getElementById('rows-region');
  const frames = [];
  region.scrollTop = 0;
  let last = performance.now();
  for (let i = 0; i < 120; i += 1) {
    region.scrollTop += step;
    await new Promise((done) => requestAnimationFrame(done));
    frames.push(performance.now() - last);
    last = performance.now();
  }
  return {frames: frames.slice(1)};
}"""
OPENED = """() => {
  const [entry] = performance.getEntriesByType('navigation');
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  return {parsed: entry.domInteractive, loaded: entry.loadEventEnd, painted: paint ? paint.startTime : null,
          ready: performance.getEntriesByName('rows-ready')[0].startTime, long: window.longTasks};
}"""
WATCHED = """
window.longTasks = [];
new PerformanceObserver((list) => {
  window.longTasks.push(...list.getEntries().map((one) => one.duration));
}).observe({type: 'longtask', buffered: true});
new MutationObserver((_, self) => {
  if (document.querySelector('#rows[data-ready]')) { performance.mark('rows-ready'); self.disconnect(); }
}).observe(document, {subtree: true, attributes: true, attributeFilter: ['data-ready'], childList: true});
"""


def made(output: Path, systems: tuple[str, ...] = SYSTEMS, prompts: int = PROMPTS) -> View:
    """A view of a result of random numbers."""
    import pandas as pd

    from evalkit.page.view import view
    from evalkit.results.result import Result
    from tests.results.made import TITLES, record

    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    vocabulary = ["".join(rng.choice(letters, size)) for size in rng.integers(2, 9, 4000)]
    tags = [" ".join(rng.choice(vocabulary, size)) for size in rng.integers(1, 4, TAGS)]
    often = 1 / np.arange(1, TAGS + 1)  # Zipf's law: few tags are of many prompts
    names = ["".join(rng.choice(letters, 11)) for _ in range(prompts)]
    frame = pd.DataFrame(
        {
            "id": names,
            "caption": [" ".join(rng.choice(vocabulary, size)) for size in rng.integers(25, 75, prompts)],
            "tags": [list(rng.choice(tags, size, p=often / often.sum())) for size in rng.integers(6, 16, prompts)],
            "labels": [["Music"] for _ in range(prompts)],
        }
    )
    one = record({system: dict.fromkeys(TITLES, 1.0) for system in systems}, {}, total=prompts)
    clips = one.clips.assign(id=names * len(systems), **{name: rng.gamma(2, 1, len(one.clips)) for name in TITLES})
    silent = rng.random(len(clips)) < 0.01
    clips.loc[silent, ["status", "reason"]] = "silent", "digital silence"
    clips.loc[silent, list(TITLES)] = np.nan
    result = Result(**{**vars(one), "prompts": frame, "clips": clips})
    return view([result], output)


def measure_page() -> Iterator[Row]:
    """Sizes, and the time of writing."""
    from evalkit.page import columns
    from evalkit.page.page import render

    shown = made(Path("report.html"))
    render(made(Path("report.html"), prompts=10))  # what is imported is there
    started, clock = time.process_time(), time.perf_counter()
    text = render(shown)
    cpu, seconds = time.process_time() - started, time.perf_counter() - clock
    data = columns.data(shown, columns.clips_of(shown))
    sizes = {name: size(value) for name, value in data.items()}
    values = sum(len(text) for part in data["parts"] for text in part["values"])
    yield {
        "prompts": PROMPTS, "systems": len(SYSTEMS), "metrics": len(data["metrics"]),
        "CPU seconds to write": round(cpu, 2), "seconds to write": round(seconds, 2),
        "MB": megabytes(len(text.encode())),
        "MB of all clips": megabytes(sum(sizes.values())), "MB of values": megabytes(values),
        "MB of captions": megabytes(sizes["captions"]), "MB of tags": megabytes(sizes["tags"]),
    }  # fmt: skip


def measure_table() -> Iterator[Row]:
    """Times of the page in a browser."""
    from playwright.sync_api import sync_playwright

    from evalkit.page.page import render
    from tests.browser import ARGUMENTS, CHROMIUM

    for systems in (SYSTEMS, tuple(f"system {i}" for i in range(8))):
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            path = Path(folder) / "report.html"
            path.write_text(render(made(path, systems)), "utf-8")
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            load = round(os.getloadavg()[0], 1)  # what else ran on the machine meanwhile
            about = {"systems": len(systems), "chromium": chromium.version, "load": load}
            yield {**about, **opened(chromium, path.as_uri())}
            chromium.close()


def opened(chromium: Any, address: str) -> Row:
    """Open the page three times, the last time to use its table; milliseconds."""
    opens = []
    for _ in range(3):
        page = chromium.new_page(viewport={"width": 1600, "height": 1000})
        thread = Thread(page)
        page.add_init_script(WATCHED)
        page.goto(address)
        page.wait_for_selector("#rows[data-ready]")
        opens.append({**page.evaluate(OPENED), "cpu": thread.used()})
        if len(opens) < 3:
            page.close()
    page.wait_for_timeout(1500)  # what a search compares is made while nobody waits
    heads = page.locator("#rows-table thead button").count()
    timed: dict[str, list[tuple[float, float]]] = {}
    acts: list[tuple[str, int | str]] = [("sort", i) for i in range(heads) for _ in range(2)]
    acts += [("search", "ab cd"[: i + 1]) for i in range(5)] + [("search", "")]
    acts += [(kind, value) for kind, value in (("tag", "0"), ("tag", ""), ("system", "1"), ("system", ""))]
    for kind, value in acts:
        thread.used()
        clock = page.evaluate(TIMED, [kind, value])
        timed.setdefault("filter" if kind in ("tag", "system") else kind, []).append((thread.used(), clock))
    thread.used()
    frames = [frame for step in STEPS for frame in page.evaluate(SCROLLED, step)["frames"]]
    scrolled = thread.used() / len(frames)
    page.close()
    row = {
        "opened, CPU": middle(opens, "cpu"), "painted": middle(opens, "painted"), "parsed": middle(opens, "parsed"),
        "table ready": middle(opens, "ready"),
        "longest task while opening": round(max((ms for one in opens for ms in one["long"]), default=0)),
    }  # fmt: skip
    for kind, taken in timed.items():
        cpu, clock = zip(*taken, strict=True)
        row |= {f"{kind}, slowest, CPU": round(max(cpu), 1), f"{kind}, median, CPU": round(statistics.median(cpu), 1)}
        row |= {f"{kind}, slowest": round(max(clock), 1), f"{kind}, median": round(statistics.median(clock), 1)}
    middle_frame = round(statistics.median(frames), 1)
    return {**row, "scrolled frame, mean, CPU": round(scrolled, 1), "scrolled frame, median": middle_frame}


class Thread:
    """How much the thread of a page has computed."""

    def __init__(self, page: Any) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._before = 0.0

    def used(self) -> float:
        """Milliseconds since it was asked last."""
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        now = next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")
        since, self._before = 1000 * (now - self._before), now
        return since


def middle(opens: list[dict[str, Any]], name: str) -> float:
    """The median of what was measured."""
    return round(statistics.median(one[name] for one in opens if one[name] is not None))


def size(value: Any) -> int:
    """Bytes of a value in the page."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def megabytes(count: int) -> float:
    """Bytes in megabytes."""
    return round(count / 1e6, 3)


MEASURED = {"page": measure_page, "table": measure_table}


def main() -> None:
    """Measure, record."""
    parts.measure(__doc__, MEASURED, JSON, {"what": "milliseconds where nothing else is said"}, lambda: None)


if __name__ == "__main__":
    main()
