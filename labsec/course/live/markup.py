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


def help_for(label: str, text: str) -> str:
    """A "?" that unfolds one plain sentence. Shortcuts of the notebook are off while it has the focus."""
    named = f'aria-label="Help: {html.escape(label, quote=True)}"'
    return (
        f'<details><summary data-lm-suppress-shortcuts="true" {named}>?</summary><p>{html.escape(text)}</p></details>'
    )


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
      for (const control of panel.querySelectorAll('.live-control')) {
        const turned = control.querySelector('[role=slider], select, input[type=checkbox]');
        const why = text(control.querySelector('.live-note'));
        put(turned, 'aria-disabled', String(control.classList.contains('live-idle')));
        put(turned, 'aria-description', why);
      }
      const reading = panel.querySelector('.live-reading');
      put(reading, 'role', 'status');
      put(reading, 'aria-live', 'polite');
      put(reading, 'aria-busy', reading?.querySelector('.live-caption')?.dataset.busy ?? 'false');
    }
    function close_helps(panel) {  // Escape, another '?' and a press elsewhere close what is open
      const close = (keep) => panel.querySelectorAll('.live-help details[open]').forEach((help) => {
        if (help !== keep) help.open = false;
      });
      panel.addEventListener('keydown', (event) => { if (event.key === 'Escape') close(); });
      panel.addEventListener('toggle', (event) => { if (event.target.open) close(event.target); }, true);
      panel.addEventListener('pointerdown', (event) => close(event.target.closest('.live-help details')));
      panel.addEventListener('focusout', (event) => { if (!event.relatedTarget?.closest('.live-help')) close(); });
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
        if (panel) close_helps(panel);
        if (panel) watch(panel, { childList: true, subtree: true, attributeFilter: ['aria-valuetext', 'class'] },
                         () => refresh(panel));
      };
      watch(document.body, { childList: true, subtree: true }, begin);
      return () => watcher?.disconnect();
    } };
    """
    _css = """
    .live-panel { container-type: inline-size; max-width: 1000px; box-sizing: border-box; padding: 2px; }
    .live-panel, .live-panel .jupyter-widgets { overflow: visible; }
    .live-body { display: flex; flex-flow: row nowrap; gap: 16px; align-items: flex-start; }
    .live-panel .live-controls { flex: 0 0 300px; gap: 10px; min-width: 0; }
    .live-panel .live-view { flex: 1 1 0; min-width: 0; margin: 0; }
    .live-view .widget-html-content { line-height: 0; }
    .live-plot { width: auto; height: auto; max-width: 100%; max-height: 392px; }
    .live-group { border-left: 4px solid #6b7078; padding-left: 8px; gap: 2px; min-width: 0; }
    .live-attacker { border-color: ATTACKER; --live-accent: ATTACKER; }
    .live-defender { border-color: DEFENDER; --live-accent: DEFENDER; }
    .live-panel .live-heading-box { height: auto; margin: 0; }
    .live-heading { font-weight: 700; line-height: 20px; font-size: 13px; }
    .live-heading svg { vertical-align: -2px; }

    /* one control: name, what is turned, number, help in a row; below 720 pixels the slider has a row of its own */
    .live-panel .live-control { display: grid; position: relative; align-items: center; gap: 0 6px; margin: 0;
      grid-template: "name track box help" minmax(28px, auto) "note note note note" auto / 92px 1fr 58px 18px; }
    .live-panel .live-choice { grid-template-columns: 92px 1fr 0 18px; }
    .live-panel .live-control :is(.widget-text, .widget-dropdown) { display: contents; }
    .live-panel .live-control .widget-inline-hbox { width: auto; min-width: 0; margin: 0; }
    .live-panel .live-control .widget-label { grid-area: name; width: auto; height: auto; margin: 0; text-align: left;
      line-height: 1.15; white-space: normal; overflow: visible; font-size: 12.5px; }
    .live-panel .live-slider .widget-text input { grid-area: box; width: 58px; height: 24px; margin: 0; padding: 0 4px;
      text-align: right; font-size: 12.5px; }
    .live-panel .live-slider > :has(> .slider-container) { grid-area: track; height: 28px; }
    .live-panel .live-slider .slider-container { flex: 1 1 auto; min-width: 0; margin: 0 8px; }
    .live-panel .live-slider .widget-readout { display: none; }
    .live-panel .live-choice select { grid-area: track / track / box / box; width: 100%; height: 26px; margin: 0; }
    .live-panel .live-switch .widget-checkbox { grid-area: name / name / box / box; width: auto; height: 24px; }
    .live-panel .live-switch input { margin-left: 4px; }
    @container (max-width: 720px) {
      .live-panel .live-controls { flex-basis: 186px; gap: 8px; }
      .live-panel .live-control { gap: 0 4px; grid-template: "name help box" minmax(24px, auto)
        "track track track" 20px "note note note" auto / 1fr 18px 58px; }
      .live-panel .live-control .widget-label { font-size: 12px; }
      .live-panel .live-slider > :has(> .slider-container) { height: 20px; }
      .live-panel .live-choice { grid-template: "name help" 18px "track track" 26px "note note" auto / 1fr 18px; }
      .live-panel .live-choice select { grid-area: track; }
      .live-panel .live-switch { grid-template: "name help" minmax(24px, auto) "note note" auto / 1fr 18px; }
      .live-panel .live-switch .widget-checkbox { grid-area: name; }
    }

    .live-panel .live-control > :is(.live-help, .live-note) { margin: 0; height: auto; min-height: 0; width: auto; }
    .live-panel .live-help { grid-area: help; line-height: 1; }
    .live-panel .live-help, .live-help .widget-html-content { position: static; overflow: visible; }
    .live-panel .live-note { grid-area: note; }
    .live-note .widget-html-content { font-size: 11.5px; line-height: 1.3; padding-bottom: 3px; }
    .live-help summary { list-style: none; cursor: pointer; width: 16px; height: 16px; border-radius: 8px;
      font-size: 11px; font-weight: 700; line-height: 16px; text-align: center; border: 1px solid #767b83;
      box-sizing: content-box; }
    .live-help details[open] summary { background: #6b7078; color: #fff; }
    .live-help p { position: absolute; z-index: 20; top: calc(100% - 2px); left: 0; right: 0; margin: 0;
      padding: 6px 10px; font-size: 12.5px; line-height: 1.4; border: 1px solid #767b83; border-radius: 3px;
      box-shadow: 0 2px 8px #0004; background: var(--jp-layout-color1, #fff);
      color: var(--jp-content-font-color1, #1f2328); }

    .live-panel .noUi-connect { background: var(--live-accent, #6b7078); }
    .live-panel .noUi-handle { border: 2px solid var(--live-accent, #6b7078); }
    .live-panel .noUi-handle:is(:hover, :focus, .noUi-active) { background: var(--live-accent, #6b7078); }
    .live-panel .live-idle :is(.slider-container, select) { opacity: .4; }
    .live-panel .live-idle input { color: #767b83; }
    .live-panel :is(.noUi-handle, input, select, summary):focus-visible { outline: 2px solid DEFENDER;
      outline-offset: 2px; }
    .live-reading { min-height: 55px; height: auto; margin: 6px 0 0; }
    .live-reading .widget-html-content { font-size: 13px; line-height: 1.4; }
    .live-error { border-left: 4px solid ATTACKER; padding: 4px 10px; font-weight: 600; overflow-wrap: anywhere; }
    .live-alarm pre { overflow-x: auto; }
    """.replace("ATTACKER", ATTACKER).replace("DEFENDER", DEFENDER)
