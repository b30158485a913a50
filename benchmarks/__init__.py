"""taskroute and its peers side by side. `scripts/bench` runs them; docs/performance.md shows the results."""
