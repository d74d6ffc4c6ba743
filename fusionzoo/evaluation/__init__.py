"""From per-case predictions to metrics, intervals, comparisons and figures; free of torch."""
