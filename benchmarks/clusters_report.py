"""What docs/uncertainty.md and docs/gate.md say of clusters, from what `benchmarks.clusters` has measured."""

from __future__ import annotations

from pathlib import Path

JSON = Path("results/benchmarks/clusters.json")
