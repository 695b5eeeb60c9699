"""What the browser needs besides core widgets: HTML, the style of a panel, and names for screen readers."""

from __future__ import annotations

import base64
import html

import anywidget

from labsec.plots import ATTACKER, DEFENDER

SYMBOLS = {
    "attacker": f'<path d="M9 0 L2 9 H7 L6 16 L14 6 H9 Z" fill="{ATTACKER}"/>',  # a bolt
    "defender": f'<path d="M8 0 L15 3 V8 C15 12 12 15 8 16 C4 15 1 12 1 8 V3 Z" fill="{DEFENDER}"/>',  # a shield
    "setting": '<circle cx="8" cy="8" r="5" fill="none" stroke="#6b7078" stroke-width="3"/>',
}


def heading(role: str) -> str:
    """The heading of a group of controls: a symbol and a word."""
    mark = f'<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">{SYMBOLS[role]}</svg>'
    return f'<div class="live-heading">{mark} {role.capitalize()}</div>'


def image_tag(png: bytes, size: tuple[int, int], alt: str, shown: str) -> str:
    """The picture as an element that keeps its place while it changes.

    shown   for which settings it holds: the number of each control's option, in the order of the page
    """
    width, height = size
    return (
        f'<img class="live-plot" decoding="sync" width="{width}" height="{height}" alt="{html.escape(alt)}"'
        f' data-for="{shown}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    )


def sentence(text: str, shown: str, *, busy: bool) -> str:
    """The sentence for the same settings; while it is busy, screen readers wait."""
    return f'<span class="live-caption" data-for="{shown}" data-busy="{str(busy).lower()}">{html.escape(text)}</span>'


def alarm(error: Exception, trace: str) -> str:
    """An error, and where it comes from for those who want the details."""
    message = html.escape(f"{type(error).__name__}: {error}")
    return (
        f'<div class="live-error" role="alert">✗ The run stopped. {message}</div>'
        f"<details><summary>Where</summary><pre>{html.escape(trace)}</pre></details>"
    )


class Names(anywidget.AnyWidget):
    """Invisible. Gives the sliders of the panel that it lies in the names, the values and the live region that core
    widgets lack; it acts when the panel changes and at no other time."""

    _esm = """
    const put = (node, name, value) => {
      if (node && node.getAttribute(name) !== value) node.setAttribute(name, value);  // or the watcher never rests
    };
    const text = (node) => (node?.textContent ?? '').trim();
    function refresh(panel) {
      for (const group of panel.querySelectorAll('.live-group')) {
        put(group, 'role', 'group');
        put(group, 'aria-label', text(group.querySelector('.live-heading')));
      }
      for (const control of panel.querySelectorAll('.live-slider')) {
        const label = text(control.querySelector('.widget-text .widget-label'));
        const handle = control.querySelector('[role=slider]');
        put(handle, 'aria-label', label);
        put(handle, 'aria-valuetext', text(control.querySelector('.widget-readout')));
        put(control.querySelector('input'), 'aria-label', label + ', value');
      }
      const reading = panel.querySelector('.live-reading');
      put(reading, 'role', 'status');
      put(reading, 'aria-live', 'polite');
      put(reading, 'aria-busy', reading?.querySelector('.live-caption')?.dataset.busy ?? 'false');
    }
    export default { render({ el }) {
      el.style.display = 'none';
      let watcher = null;
      const watch = (node, options, act) => {
        watcher?.disconnect();
        watcher = new MutationObserver(act);
        watcher.observe(node, options);
        act();
      };
      const begin = () => {
        const panel = el.closest('.live-panel');
        if (panel) watch(panel, { childList: true, subtree: true, attributeFilter: ['aria-valuetext'] },
                         () => refresh(panel));
      };
      watch(document.body, { childList: true, subtree: true }, begin);
      return () => watcher?.disconnect();
    } };
    """
    _css = """
    .live-panel { container-type: inline-size; max-width: 1000px; box-sizing: border-box; padding: 2px; }
    .live-panel, .live-panel .jupyter-widgets { overflow: visible; }
    .live-body { display: flex; flex-flow: row nowrap; gap: 20px; }
    .live-panel .live-controls { flex: 0 0 240px; gap: 14px; }
    .live-panel .live-view { flex: 1 1 auto; min-width: 0; margin: 0; }
    @container (max-width: 640px) {
      .live-body { flex-flow: column; }
      .live-panel .live-controls { flex: none; flex-flow: row wrap; }
      .live-panel .live-group { flex: 1 1 200px; }
    }
    .live-view .widget-html-content { line-height: 0; }
    .live-plot { width: 100%; height: auto; max-width: fit-content; }
    .live-group { border-left: 4px solid #6b7078; padding-left: 10px; gap: 6px; min-width: 0; }
    .live-attacker { border-color: ATTACKER; --live-accent: ATTACKER; }
    .live-defender { border-color: DEFENDER; --live-accent: DEFENDER; }
    .live-heading { font-weight: 700; line-height: 1.3; }
    .live-heading svg { vertical-align: -2px; }
    .live-panel .live-control .widget-inline-hbox { width: auto; margin: 1px 0; }
    .live-panel .live-slider .widget-text .widget-label { flex: 1 1 auto; width: auto; text-align: left; }
    .live-panel .live-slider .widget-text input { flex: 0 0 76px; width: 76px; text-align: right; }
    .live-panel .live-slider .slider-container { flex: 1 1 auto; min-width: 0; margin: 0 9px; }
    .live-panel .live-slider .widget-readout { display: none; }
    .live-panel .live-choice .widget-dropdown { flex-flow: column; height: auto; align-items: stretch; }
    .live-panel .live-choice .widget-label { width: auto; text-align: left; }
    .live-panel .live-choice select { flex: 0 0 auto; width: 100%; height: 28px; }
    .live-panel .noUi-connect { background: var(--live-accent, #6b7078); }
    .live-panel .noUi-handle { border: 2px solid var(--live-accent, #6b7078); }
    .live-panel .noUi-handle:is(:hover, :focus, .noUi-active) { background: var(--live-accent, #6b7078); }
    .live-panel :is(.noUi-handle, input, select):focus-visible { outline: 2px solid DEFENDER; outline-offset: 2px; }
    .live-panel .live-switch input { margin-left: 4px; }
    .live-help .widget-html-content { font-size: 11.5px; line-height: 1.35; }
    .live-reading { min-height: 66px; margin: 6px 0 0; }
    .live-reading .widget-html-content { font-size: 14px; line-height: 1.5; }
    .live-error { border-left: 4px solid ATTACKER; padding: 4px 10px; font-weight: 600; overflow-wrap: anywhere; }
    .live-alarm pre { overflow-x: auto; }
    """.replace("ATTACKER", ATTACKER).replace("DEFENDER", DEFENDER)
