"""The picture of a plan shows its runs, and which are finished."""

from __future__ import annotations

from matplotlib.colors import to_rgb
from matplotlib.text import Annotation

from hsisr_core.plots.plan import SHOWN, plan_dag
from hsisr_core.plots.style import COLOURS


def texts(labels: list[str], done: list[bool]) -> dict[str, tuple[float, ...]]:
    """The boxes of the picture, and how they are filled."""
    (axes,) = plan_dag(labels, done).axes
    return {str(box.get_label()): to_rgb(box.get_facecolor()) for box in axes.patches}


def test_every_run_is_a_box_and_a_finished_one_is_filled() -> None:
    boxes = texts(["scale=2", "scale=3", "scale=4"], [False, True])
    assert {"scale=2", "scale=3  ✓", "scale=4", "core code", "all results"} <= boxes.keys()
    assert boxes["scale=3  ✓"] == to_rgb(COLOURS[5])
    assert boxes["scale=2"] == boxes["scale=4"] == (1, 1, 1)


def test_each_run_is_joined_to_its_inputs_and_to_the_results() -> None:
    (axes,) = plan_dag(["a", "b"]).axes
    arrows = [text for text in axes.texts if isinstance(text, Annotation)]
    ends = {(round(text.xyann[1], 1), text.xy[1]) for text in arrows}
    rows = {ends_at for _, ends_at in ends}
    assert len(arrows) == len(ends) == 2 * 3
    assert rows == {0, 1, 0.5}  # both runs, and the results between them


def test_a_long_plan_is_cut_and_says_so() -> None:
    boxes = texts([f"seed={seed}" for seed in range(SHOWN + 5)], [True] * (SHOWN + 2))
    assert "and 5 more, 2 finished" in boxes
    assert f"seed={SHOWN}" not in boxes
