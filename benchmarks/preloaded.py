"""What commands import and the networks of a small run need: a server of forks imports this once for all attempts."""

from __future__ import annotations

import os
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: its threads do not survive a fork
os.environ["HF_HUB_OFFLINE"] = "1"

import pandas

import evalkit.commands.compare
import evalkit.commands.export
import evalkit.commands.report
import evalkit.commands.run
import evalkit.commands.table
import evalkit.comparing
import evalkit.page.page
import evalkit.page.view
import evalkit.pipeline  # noqa: F401
from evalkit.config import compose
from evalkit.models.tiny import TinyStereo
from evalkit.plan import make_plan
from evalkit.store.cache import Cache

METRICS = os.environ.get("PRELOADED_METRICS", "fad,chroma,silence")

with tempfile.TemporaryDirectory() as folder:
    plan = make_plan(compose(["model=tiny_stereo", "prompts=demo", f"metric=[{METRICS}]", "random_weights=0"]))
    TinyStereo().load(Cache(folder), plan.engine)
    for metric in plan.metrics.values():
        for encoder in (metric.encoder, metric.reference_encoder):
            if encoder is not None:
                encoder.load(Cache(folder), "cpu")
    pandas.DataFrame({"number": [1]}).to_parquet(os.path.join(folder, "frame.parquet"))
