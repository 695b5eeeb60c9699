"""Live panels: controls at the left, one picture at the right, one sentence below, and a real run on every move.

Core ipywidgets and an <img>, one worker thread per panel, one figure that is kept: nothing is fetched from anywhere,
the newest value wins, and no run queues up behind another.

    controls   what a learner can set
    worker     the thread: newest value first, errors kept for whoever waits
    rendering  from a drawing to PNG bytes, redrawing only what moves
    markup     HTML and style, and the names that screen readers need
    pointer    dragging on the picture
    panel      the four put together
"""

from labsec.course.live.controls import Control, choice, log_slider, slider, switch, unless
from labsec.course.live.panel import Panel
from labsec.course.live.pointer import Drag
from labsec.course.live.rendering import Drawing

__all__ = ["Control", "Drag", "Drawing", "Panel", "choice", "log_slider", "slider", "switch", "unless"]
