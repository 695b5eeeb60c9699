"""Dragging on the picture: where the pointer is, as a share of the picture's width and height."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import anywidget
import traitlets


@dataclass(frozen=True, kw_only=True)
class Drag:
    """What dragging on the picture changes; the drawing has an attribute `axes`, in whose units the place is read.

    x, y    names of the sliders that follow the pointer across and upwards; "" for a direction that changes nothing
    sets    further controls that a drag puts to a value
    """

    x: str = ""
    y: str = ""
    sets: Mapping[str, object] = field(default_factory=dict)


class Pointer(anywidget.AnyWidget):
    """Invisible. Reports each place on the panel's picture that is pressed or dragged over, once a frame at most.

    place    [x, y] from the upper left, each in [0, 1]; the sliders do the same for those who use a keyboard
    """

    place = traitlets.List(traitlets.Float(), [0.0, 0.0]).tag(sync=True)

    _esm = """
    export default { render({ model, el }) {
      el.classList.add('live-pointer');
      el.style.display = 'none';
      let waiting = null, held = false;
      const panel = () => el.closest('.live-panel');
      const send = () => {
        if (!waiting) return;
        model.set('place', waiting);
        model.save_changes();
        waiting = null;
      };
      const note = (event) => {
        const picture = panel()?.querySelector('img.live-plot');
        if (!picture) return;
        const box = picture.getBoundingClientRect();
        const share = (value) => Math.min(1, Math.max(0, value));
        if (!waiting) requestAnimationFrame(send);
        waiting = [share((event.clientX - box.left) / box.width), share((event.clientY - box.top) / box.height)];
      };
      const down = (event) => {
        if (event.button !== 0 || !event.target.closest?.('img.live-plot') || !panel()?.contains(event.target)) return;
        held = true;
        event.preventDefault();
        note(event);
      };
      const move = (event) => { if (held) note(event); };
      const up = () => { held = false; };
      const options = { capture: true };
      document.addEventListener('pointerdown', down, options);
      document.addEventListener('pointermove', move, options);
      document.addEventListener('pointerup', up, options);
      return () => {
        document.removeEventListener('pointerdown', down, options);
        document.removeEventListener('pointermove', move, options);
        document.removeEventListener('pointerup', up, options);
      };
    } };
    """
    _css = ".live-panel:has(.live-pointer) img.live-plot { cursor: crosshair; touch-action: none; }"
