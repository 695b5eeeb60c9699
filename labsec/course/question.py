"""The widget that asks: a slider without a value and a number box, or choices; and two buttons.

It is the only part of a prediction that needs a kernel, and it gives way to a card once its result is shown. Scripts
and styles are in this file, so nothing is fetched.
"""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from labsec.course.card import BLUE, Card

SCRIPT = r"""
// JupyterLab leaves the keys to an element only if the element itself, and not one around it, says so.
function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.dataset.lmSuppressShortcuts = 'true';
  node.append(...children);
  return node;
}

function slider(row, spec, changed) {
  const { low, high, step, unit } = spec;
  const range = make('input', { type: 'range', min: low, max: high, step });
  const box = make('input', { type: 'number', min: low, max: high, step: 'any', placeholder: '?' });
  range.setAttribute('aria-label', spec.question);
  box.setAttribute('aria-label', `Your guess as a number${unit ? ', in ' + unit : ''}, from ${low} to ${high}`);

  // Nobody has answered yet: the handle stands in the middle, pale, and is read out as no value.
  const clear = () => {
    range.value = (low + high) / 2;
    range.classList.add('unset');
    range.setAttribute('aria-valuetext', 'no guess yet');
  };
  const touched = () => {
    range.classList.toggle('unset', box.value === '');
    range.setAttribute('aria-valuetext', `${box.value} ${unit}`.trim());
    changed();
  };
  const fromRange = () => { box.value = range.value; touched(); };
  range.addEventListener('input', fromRange);
  range.addEventListener('pointerup', fromRange);  // a click on the middle counts as well
  box.addEventListener('input', () => {
    if (box.value === '') {
      clear();
      changed();
    } else {
      range.value = box.value;
      touched();
    }
  });

  const ends = make('span', { className: 'ends', ariaHidden: 'true' },
    make('span', { textContent: low }), make('span', { textContent: high }));
  row.append(make('span', { className: 'track' }, range, ends), box, make('span', { textContent: unit }));
  return {
    read: () => box.value !== '' && box.checkValidity() ? Number(box.value) : null,
    problem: () => box.validity.valid ? '' : `Please give a number from ${low} to ${high}.`,
    write: (value) => {
      if (value === null) return clear();
      box.value = range.value = value;
      touched();
    },
  };
}

function choices(row, spec, changed) {
  const name = `guess-${Math.random()}`;
  const radios = spec.choices.map((text) => {
    const radio = make('input', { type: 'radio', name, value: text, onchange: changed });
    row.append(make('label', {}, radio, ` ${text}`));
    return radio;
  });
  return {
    read: () => radios.find((radio) => radio.checked)?.value ?? null,
    problem: () => '',
    write: (value) => { for (const radio of radios) radio.checked = radio.value === value; },
  };
}

function render({ model, el }) {
  const spec = model.get('spec');
  const row = make('div', { className: 'row' });
  const commit = make('button', { type: 'submit' });
  const skip = make('button', { type: 'button', textContent: 'Skip', title: 'Show the result without a guess' });
  const said = make('output');
  const fields = make('fieldset', {}, make('legend', { textContent: spec.question }), row);
  const form = make('form', { className: 'labsec-question', noValidate: true }, fields, said);
  let answer = { read: () => null, problem: () => '', write: () => {} };

  const show = () => {
    const guess = model.get('guess');
    commit.disabled = answer.read() === null || answer.read() === guess;
    commit.textContent = guess === null ? 'Commit my guess' : 'Change my guess';
    said.textContent = answer.problem() || model.get('note');
  };
  answer = (spec.choices.length ? choices : slider)(row, spec, show);
  row.append(commit, skip);

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (!commit.disabled) model.send({ guess: answer.read() });
  });
  form.addEventListener('keydown', (event) => {  // inside JupyterLab, Enter in a field does not submit by itself
    if (event.key === 'Enter' && event.target.tagName === 'INPUT') { event.preventDefault(); form.requestSubmit(); }
  });
  skip.addEventListener('click', () => model.send({ guess: null }));
  const written = () => { answer.write(model.get('guess')); show(); };
  model.on('change:guess', written);
  model.on('change:note', show);
  model.on('change:locked', () => {  // about to be replaced: the keyboard stays at this cell
    if (form.contains(document.activeElement)) form.closest('.jp-Cell')?.focus();
    fields.disabled = true;
  });
  el.append(form);
  written();
}
export default { render };
"""

STYLE = f"""
.labsec-question {{
  border: 1px solid #8884; border-left: 4px solid {BLUE}; border-radius: 3px; box-sizing: border-box;
  max-width: 900px; margin: 4px 0; padding: 8px 14px;
  color: var(--jp-content-font-color1, inherit); font: 14px/1.45 var(--jp-content-font-family, sans-serif);
}}
.labsec-question fieldset {{ border: 0; margin: 0; padding: 0; min-width: 0; }}
.labsec-question legend {{ font-weight: 600; padding: 0; }}
.labsec-question .row {{ display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px; min-height: 40px; }}
.labsec-question .track {{ flex: 0 1 300px; min-width: 140px; }}
.labsec-question .track input {{ width: 100%; margin: 6px 0 0; accent-color: {BLUE}; }}
.labsec-question .track input.unset {{ opacity: .55; accent-color: #767676; }}
.labsec-question .ends {{ display: flex; justify-content: space-between; font-size: 12px; line-height: 1.1; }}
.labsec-question input[type=number] {{
  width: 6em; font: inherit; padding: 3px 6px; text-align: right; color: inherit; background: none;
  border: 1px solid #888; border-radius: 3px;
}}
.labsec-question input[type=number]::placeholder {{ color: inherit; opacity: .8; }}
.labsec-question label {{ padding: 2px 0; }}
.labsec-question button {{
  font: inherit; padding: 4px 12px; border-radius: 3px; cursor: pointer;
  border: 1px solid {BLUE}; background: {BLUE}; color: #fff;
}}
.labsec-question button[type=button] {{ background: none; color: inherit; border-color: #888; }}
.labsec-question button:disabled {{
  background: none; color: inherit; opacity: .6; border-color: #888; cursor: default;
}}
.labsec-question :focus-visible {{ outline: 2px solid {BLUE}; outline-offset: 2px; }}
.labsec-question output {{ display: block; font-size: 13px; }}
"""


class Question(anywidget.AnyWidget):
    """A question with its slider and number box, or its choices.

    spec      question, scale (in words), low, high, step, unit, choices
    guess     what was committed so far; None if nothing was, or if it was skipped
    locked    whether it can no longer be changed, and is about to give way
    note      a line below

    A page tells what was committed or skipped in a message, {"guess": value}; see `on_msg` of ipywidgets.
    """

    _esm = SCRIPT
    _css = STYLE

    spec = traitlets.Dict().tag(sync=True)
    guess = traitlets.Any(None, allow_none=True).tag(sync=True)
    locked = traitlets.Bool(False).tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)

    def __repr__(self) -> str:
        return repr(self._still())

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        # Beside the widget stands what is shown where no kernel runs.
        made = super()._repr_mimebundle_(**kwargs)
        data, metadata = made if isinstance(made, tuple) else (made or {}, {})
        return {**data, "text/plain": repr(self), "text/html": self._still()._repr_html_()}, metadata

    def _still(self) -> Card:
        body = f"{self.spec['scale']}. Run this cell to answer."
        return Card(symbol="?", title=self.spec["question"], body=body, edge=BLUE)
