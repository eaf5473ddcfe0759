"""What the numbers say: the paper's tables beside ours, differences and their spread."""

from hsisr_core.study.budgets import compare_budgets, show_budgets, with_any_steps
from hsisr_core.study.claims import image_gains, judge_claims, judge_gains, list_claims
from hsisr_core.study.comparison import (
    at_largest_scale,
    by_row,
    compare_methods,
    compare_successors,
    data_needed,
    ensemble_scores,
    learning_curves,
    one_per_row,
    run_scores,
    show_comparison,
    show_successors,
    super_resolve_each,
)
from hsisr_core.study.rows import (
    UNITS,
    baseline,
    belongs_to,
    compare_rows,
    get_runs,
    not_converged,
    origin,
    paired,
    row_curves,
    row_label,
    rows_of,
    show_rows,
    show_tries,
)
from hsisr_core.study.significance import difference_table, repeats_needed, smallest_difference
