// Plays the story. `SCENES` says what is where at each moment of a scene, `paint` puts it on the page, and the player
// moves the moment. A notebook keeps only a still picture; `initialize` puts a player in the place of each.

const SIDE = 28;  // pixels of a digit's side
const TILE = 54;  // units of the drawing, as everywhere below
const STAGE = { width: 700, height: 370 };
const HOME = { width: 178, columns: [50, 130], top: 62, pitch: 39 };
const SERVER = { x: 330, y: 196, radius: 56, asideX: 215, asideY: 70, asideScale: 0.56 };
const CHART = { x: 448, y: 62, width: 156, height: 236 };
const STRIP = { x: 256, y: 40, width: 436, height: 60 };
const READ = { x: 256, y: 126, side: 172 };
const OTHERS = { truth: 434, mean: 560, y: 178, side: 120 };
const LEDGER = { left: 416, right: 694, y: 122, pitch: 40 };
const SIZE = 16;  // of text, as in story.css

// ---- What is where ----

const clamp = (value) => Math.min(1, Math.max(0, value));
const ease = (value) => value * value * (3 - 2 * value);
const during = (share, from, to) => ease(clamp((share - from) / (to - from)));

// A round in one go: the model out in the first part, the updates back in the rest.
function trip(share) {
  return share < 0.4 ? { model: ease(share / 0.4) } : { update: ease((share - 0.4) / 0.6) };
}

const TRIPS = 6.7;  // shown while many rounds pass; at the end, the updates are on their way

// share: how much of the scene is over, in [0, 1]. What a scene does not name is 0.
//   model, update   how far packets have come, from the server to the clients or back; `packets` is their opacity
//   trained         how far the frames around the digits have closed
//   merged          how far the updates have moved into the server
//   round           that is over; may lie between two
//   entries         of the ledger that are written
//   aside           how far the server has moved out of the way
//   lines           of the picture that are read
const SCENES = {
  home: () => ({ wires: 0.35, ledger: 1 }),
  out: (share) => ({ wires: 1, packets: 1, model: during(share, 0.1, 0.9), ledger: 1, entries: 1 }),
  train: (share) => ({
    wires: 1, trained: during(share, 0.05, 0.75), packets: during(share, 0.75, 0.9), update: 0, ledger: 1, entries: 1,
  }),
  travel: (share) => ({ wires: 1, packets: 1, update: during(share, 0.1, 0.9), ledger: 1, entries: 2 }),
  average: (share, data) => {
    const ledger = 1 - during(share, 0.05, 0.15);
    if (share < 0.2) return { wires: 1, packets: 1 - share / 0.2, update: 1, merged: during(share, 0, 0.2), ledger, entries: 2 };
    const rest = (share - 0.2) / 0.8;
    const round = 1 + rest * (data.honestRounds - 1);
    return { wires: 1, packets: 1, ...trip((TRIPS * rest) % 1), round, chart: during(share, 0.2, 0.3) };
  },
  turn: (share, data) => ({
    wires: 1, packets: 1, ...trip((TRIPS * share) % 1), turned: 1, chart: 1, ends: during(share, 0.75, 0.95),
    round: data.honestRounds + share * (data.rounds - data.honestRounds),
  }),
  open: (share, data) => ({
    wires: 1 - during(share, 0.3, 0.5), chosen: 1, round: data.openedRound, chart: 1 - during(share, 0, 0.15),
    packets: 1 - during(share, 0.4, 0.5), update: during(share, 0, 0.4), aside: during(share, 0.35, 0.55),
    strip: during(share, 0.55, 0.7), numbers: during(share, 0.7, 0.9),
  }),
  read: (share, data) => ({
    chosen: 1, round: data.openedRound, aside: 1, strip: 1, numbers: 1 - during(share, 0, 0.08),
    lines: SIDE * clamp((share - 0.1) / 0.6), others: during(share, 0.72, 0.82), all: during(share, 0.88, 0.95),
  }),
};

// The moment of each scene that is shown when it is reached by hand.
const RESTS = { home: 0, out: 0.55, train: 1, travel: 0.55, average: 1, turn: 1, open: 1, read: 1 };

// ---- The drawing ----

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const text = (x, y, words, look = '') => svg('text', { x, y, class: look }, words);
const group = (look, ...children) => svg('g', { class: look }, ...children);
const box = (x, y, width, height, look) => svg('rect', { x, y, width, height, rx: 4, class: look });
const picture = (href, x, y, width, height) => svg('image', { href, x, y, width, height, preserveAspectRatio: 'none' });

function drawClient(data, number) {
  const x = HOME.columns[(number - 1) % 2];  // staggered, so that each wire finds its way between the others
  const y = HOME.top + HOME.pitch * (number - 1);
  const near = SERVER.y + 0.22 * (y - SERVER.y);
  const wire = svg('path', { d: `M ${x + 29} ${y} H 186 C 240 ${y} 235 ${near} ${SERVER.x - SERVER.radius - 6} ${near}` });
  const sheet = { width: SIDE * data.clients, height: SIDE * data.film.length };
  const corner = { x: x - TILE / 2, y: y - TILE / 2 };

  // All digits are one picture; a client's window shows one of them.
  const view = svg('svg', { x: corner.x + 3, y: corner.y + 3, width: TILE - 6, height: TILE - 6 },
    picture(data.pictures.film, 0, 0, sheet.width, sheet.height));
  const trained = svg('rect', { ...corner, width: TILE, height: TILE, rx: 4, class: 'trained', pathLength: 100 });
  const tile = group('client', box(corner.x, corner.y, TILE, TILE, 'paper'), view, trained,
    text(x - TILE / 2 - 10, y + 6, number, 'middle'));
  const packet = group('packet', svg('rect', { x: -11, y: -8, width: 22, height: 16, rx: 3 }),
    svg('path', { d: 'M -6 -3.5 H 6 M -6 0 H 6 M -6 3.5 H 2' }));
  return { number, wire, view, trained, tile, packet };
}

function drawChart(data) {
  const right = CHART.x + CHART.width;
  const height = (share) => CHART.y + CHART.height * (1 - share);
  const across = (round) => CHART.x + CHART.width * round / data.rounds;
  const line = (values, first, look) => svg('polyline', {
    class: look, points: values.map((value, i) => `${across(first + i).toFixed(1)},${height(value).toFixed(1)}`).join(' '),
  });
  const level = (share) => group('', svg('path', { class: 'level', d: `M ${CHART.x} ${height(share)} H ${right}` }),
    text(CHART.x - 8, height(share) + 5, `${100 * share}%`, 'end quiet'));
  const ticks = [0, data.honestRounds, data.rounds].map((round) => text(across(round), 322, round, 'middle quiet'));
  const ending = (values, words) => {
    const last = values[values.length - 1];
    return group('', text(right + 8, height(last) - 2, words), text(right + 8, height(last) + 17, `${(100 * last).toFixed(1)}%`, 'strong'));
  };

  // The window grows with the rounds.
  const attacked = line(data.attacked.slice(data.honestRounds), data.honestRounds, 'attacked');
  const lines = svg('svg', { x: 0, y: 0, height: STAGE.height }, line(data.honest, 0, 'clean'), attacked);
  const ends = group('', ending(data.honest, 'all honest'), ending(data.attacked, 'attacked'));
  const all = group('', text(LEDGER.right, 28, data.words.tests, 'strong end'), level(0), level(0.5), level(1), ...ticks,
    text(CHART.x + CHART.width / 2, 346, 'round', 'middle quiet'), lines, ends);
  return { all, lines, attacked, ends, across };
}

// What has been on the wire in the first round; a row for each thing, written when it has travelled.
function drawLedger(data) {
  const row = ([name, amount], i) => {
    const y = LEDGER.y + LEDGER.pitch * (i + 1);
    return group('', svg('path', { class: 'level', d: `M ${LEDGER.left} ${y - 26} H ${LEDGER.right}` }),
      text(LEDGER.left, y, name), text(LEDGER.right, y, amount, 'strong end'));
  };
  const rows = data.ledger.map(row);
  const all = group('', text(LEDGER.left, LEDGER.y, data.words.ledger, 'strong'), ...rows);
  return { all, entries: rows.slice(1) };
}

function drawMessage(data) {
  const rowY = STRIP.y + STRIP.height * (data.strongest + 0.5) / data.neurons;
  const strip = group('', text(STRIP.x, 27, data.words.message, 'strong'),
    picture(data.pictures.message, STRIP.x, STRIP.y, STRIP.width, STRIP.height),
    box(STRIP.x, STRIP.y, STRIP.width, STRIP.height, 'frame'));
  const numbers = group('numbers', ...data.numbers.flatMap((row, i) =>
    row.map((number, j) => text(STRIP.x + 73 * j, 152 + 33 * i, number))));
  const beam = svg('polygon', { class: 'beam' });
  const row = box(STRIP.x - 3, rowY - 4, STRIP.width + 6, 8, 'row');
  const window = svg('svg', { x: READ.x, y: READ.y, width: READ.side },
    picture(data.pictures.read, 0, 0, READ.side, READ.side));
  const read = group('', box(READ.x, READ.y, READ.side, READ.side, 'paper'), window,
    box(READ.x, READ.y, READ.side, READ.side, 'frame read'));
  const label = (x, lines) => group('', ...lines.map((words, i) => text(x, 318 + 20 * i, words, i ? '' : 'strong')));
  const other = (name) => group('', picture(data.pictures[name], OTHERS[name], OTHERS.y, OTHERS.side, OTHERS.side),
    box(OTHERS[name], OTHERS.y, OTHERS.side, OTHERS.side, 'frame'),
    label(OTHERS[name], data.words[name]));
  const others = group('', label(READ.x, data.words.read), other('truth'), other('mean'));
  return { strip, numbers, beam, row, read, window, others, rowY };
}

function draw(data) {
  const clients = Array.from({ length: data.clients }, (_, i) => drawClient(data, i + 1));
  const chart = drawChart(data);
  const message = drawMessage(data);
  const { x, y, radius } = SERVER;
  const ring = svg('circle', { cx: x, cy: y, r: radius, class: 'ring', pathLength: 100, transform: `rotate(-90 ${x} ${y})` });
  const name = text(x, y - 20, 'server', 'middle');
  const right = text(x, y + 10, '', 'middle large');
  const round = text(x, y + 29, '', 'middle quiet');
  const server = group('', svg('circle', { cx: x, cy: y, r: radius, class: 'hub' }), ring, name, right, round);
  const wires = group('wires', ...clients.map((client) => client.wire));
  const heading = text(HOME.width / 2, 27, '', 'middle strong');
  const ledger = drawLedger(data);
  const stage = svg('svg', { viewBox: `0 0 ${STAGE.width} ${STAGE.height}`, role: 'img' },
    box(2, 6, HOME.width, 360, 'home'), heading, wires,
    ...clients.map((client) => client.tile), server, ...clients.map((client) => client.packet), ledger.all, chart.all,
    message.strip, message.numbers, message.beam, message.row, message.read, message.others);
  return { stage, heading, clients, ledger, chart, message, server, ring, name, right, round, wires };
}

// ---- One moment of the story ----

function paint(parts, data, name, share) {
  const now = SCENES[name](share, data);
  const at = (key) => now[key] ?? 0;
  const round = Math.round(at('round'));
  const turned = at('turned') > 0;
  const chosen = at('chosen') > 0;
  const { ledger, message, chart } = parts;
  parts.heading.textContent = at('all') > 0.5 ? data.words.readable : `${data.clients} clients`;
  parts.wires.style.opacity = at('wires');
  paintServer(parts, data.attacked[round], round, at('aside'), turned || chosen);

  // At home, each client's digits pass by; later it shows the one that it trains on.
  const last = data.film.findLastIndex((shown) => shown <= Math.max(round, 1));
  const frame = name === 'home' ? Math.floor(share * data.film.length) % data.film.length : last;
  for (const client of parts.clients) paintClient(client, data, now, at, frame, turned && client.number === 1, chosen);

  ledger.all.style.opacity = at('ledger');
  ledger.entries.forEach((entry, i) => { entry.style.opacity = i < at('entries') ? 1 : 0; });
  chart.all.style.opacity = at('chart');
  chart.attacked.style.opacity = at('turned');
  chart.lines.setAttribute('width', chart.across(at('round')) + 2);
  chart.ends.style.opacity = at('ends');

  message.strip.style.opacity = at('strip');
  message.numbers.style.opacity = at('numbers');
  message.others.style.opacity = at('others');
  paintReading(message, now.lines);
}

// The server shows how well its model does after a round. Before the first, and aside, it shows its name alone.
function paintServer(parts, accuracy, round, aside, curious) {
  const counted = round > 0 ? clamp(1 - 4 * aside) : 0;
  const arc = aside > 0 ? 100 : 100 * accuracy * counted;
  parts.right.textContent = `${Math.round(100 * accuracy)}%`;
  parts.round.textContent = `round ${round}`;
  parts.right.style.opacity = counted;
  parts.round.style.opacity = counted;
  parts.ring.setAttribute('stroke-dasharray', `${arc} 100`);
  parts.ring.classList.toggle('curious', curious);

  // Aside, it is smaller, but its name is not.
  const scale = 1 - (1 - SERVER.asideScale) * aside;
  const x = SERVER.x + (SERVER.asideX - SERVER.x) * aside - scale * SERVER.x;
  const y = SERVER.y + (SERVER.asideY - SERVER.y) * aside - scale * SERVER.y;
  parts.server.setAttribute('transform', `translate(${x} ${y}) scale(${scale})`);
  parts.name.setAttribute('y', SERVER.y + 6 - 26 * counted);
  parts.name.style.fontSize = `${SIZE / scale}px`;
}

function paintClient(client, data, now, at, frame, attacks, chosen) {
  const mine = chosen && client.number === data.openedClient;
  const wasRead = at('all') > 0.5;
  client.view.setAttribute('viewBox', `${SIDE * (client.number - 1)} ${SIDE * frame} ${SIDE} ${SIDE}`);
  client.trained.setAttribute('stroke-dasharray', `${100 * at('trained')} 100`);
  client.tile.classList.toggle('marked', attacks || mine || wasRead);
  client.tile.style.opacity = chosen && !mine && !wasRead ? 0.3 : 1;

  // Packets go along the wire; an update ends inside the server.
  const travelling = now.model !== undefined || now.update !== undefined;
  client.packet.style.opacity = travelling && (!chosen || mine) ? at('packets') : 0;
  const far = now.model !== undefined ? 1 - now.model : at('update');
  const point = client.wire.getPointAtLength(far * client.wire.getTotalLength());
  const x = point.x + at('merged') * (SERVER.x - point.x);
  const y = point.y + at('merged') * (SERVER.y - point.y);
  client.packet.setAttribute('transform', `translate(${x} ${y}) scale(${attacks ? 1.5 : 1})`);
  client.packet.classList.toggle('update', now.update !== undefined);
  client.packet.classList.toggle('marked', (attacks && now.update !== undefined) || mine);
}

// One row of the message, cut into lines: each line of the picture is the part of the row above it.
function paintReading(message, lines) {
  const begun = lines !== undefined && lines > 0;
  const reading = begun && lines < SIDE;
  message.row.style.opacity = begun ? 1 : 0;
  message.read.style.opacity = begun ? 1 : 0;
  message.beam.style.opacity = reading ? 1 : 0;
  const line = Math.floor(lines ?? 0);
  const height = READ.side * Math.min(line + 1, SIDE) / SIDE;
  message.window.setAttribute('height', height);
  const left = STRIP.x + STRIP.width * line / SIDE;
  const right = left + STRIP.width / SIDE;
  const bottom = READ.y + height;
  message.beam.setAttribute('points', [
    [left, message.rowY + 4], [right, message.rowY + 4], [READ.x + READ.side, bottom], [READ.x, bottom],
  ].join(' '));
}

// ---- The player ----

function control(name, attributes, words = '') {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.dataset.lmSuppressShortcuts = 'true';  // on the control itself: JupyterLab would take its arrow keys
  made.append(words);
  return made;
}

function player(data) {
  const { scenes } = data;
  const starts = scenes.map((_, i) => scenes.slice(0, i).reduce((sum, scene) => sum + scene.seconds, 0));
  const total = starts[scenes.length - 1] + scenes[scenes.length - 1].seconds;
  const stillness = matchMedia('(prefers-reduced-motion: reduce)');

  const back = control('button', { type: 'button', 'aria-label': 'Previous scene' }, '‹ Back');
  const play = control('button', { type: 'button', class: 'story-play' });
  const next = control('button', { type: 'button', 'aria-label': 'Next scene' }, 'Next ›');
  const place = control('input', { type: 'range', min: 0, max: total, step: 0.1, 'aria-label': 'Place in the story' });
  const count = document.createElement('span');
  const bar = document.createElement('div');
  bar.className = 'story-bar';
  bar.append(back, play, next, place, count);
  const caption = document.createElement('p');
  caption.className = 'story-caption';
  caption.setAttribute('aria-live', 'polite');
  caption.setAttribute('aria-atomic', 'true');
  const parts = draw(data);
  const root = document.createElement('div');
  root.className = 'story';
  root.setAttribute('role', 'group');
  root.setAttribute('aria-label', `A federation in ${scenes.length} scenes`);
  root.style.setProperty('--story-attacker', data.colours.attacker);
  root.style.setProperty('--story-defender', data.colours.defender);
  root.append(parts.stage, bar, caption);

  let seconds = 0;  // since the story began
  let playing = false;
  let shown = -1;  // the scene that the caption tells
  let frame = 0;
  let before = 0;

  const sceneAt = (moment) => starts.findLastIndex((start) => start <= moment);

  function show() {
    const number = sceneAt(seconds);
    const scene = scenes[number];
    if (number !== shown) tell(number);
    place.value = seconds;
    paint(parts, data, scene.name, clamp((seconds - starts[number]) / scene.seconds));
  }

  function tell(number) {
    const { title, caption: words, picture: seen } = scenes[number];
    shown = number;
    const strong = document.createElement('strong');
    strong.append(`${title}.`);
    caption.replaceChildren(strong, ` ${words}`);
    count.textContent = `${number + 1} of ${scenes.length}`;
    place.setAttribute('aria-valuetext', `Scene ${number + 1} of ${scenes.length}: ${title}`);
    parts.stage.setAttribute('aria-label', seen);
    root.dataset.scene = scenes[number].name;
    back.disabled = number === 0;
    next.disabled = number === scenes.length - 1;
  }

  // By hand, a scene is entered at its telling moment; while it plays, at its beginning.
  function step(to) {
    const number = Math.min(scenes.length - 1, Math.max(0, to));
    const { name, seconds: length } = scenes[number];
    const rest = playing ? 0 : RESTS[name];
    seconds = starts[number] + Math.min(rest * length, length - 0.01);
    show();
  }

  function run(on) {
    playing = on && !stillness.matches;
    play.textContent = playing ? 'Pause' : 'Play';
    play.hidden = stillness.matches;
    root.dataset.playing = playing;
    cancelAnimationFrame(frame);
    if (!playing) return;
    if (seconds >= total - 0.1) seconds = 0;
    before = performance.now();
    frame = requestAnimationFrame(tick);
  }

  function tick(now) {
    if (!root.isConnected) return run(false);
    const passed = Math.min(100, Math.max(0, now - before));  // a frame may have begun before Play, or after a long pause
    seconds = Math.min(total - 0.01, seconds + passed / 1000);
    before = now;
    show();
    if (seconds >= total - 0.01) return run(false);
    frame = requestAnimationFrame(tick);
  }

  // Play goes on from where it is; a scene that was reached by hand is played from its beginning.
  play.onclick = () => {
    const number = sceneAt(seconds);
    const resting = Math.abs(seconds - starts[number] - RESTS[scenes[number].name] * scenes[number].seconds) < 0.05;
    if (!playing && resting && number < scenes.length - 1) seconds = starts[number];
    run(!playing);
  };
  back.onclick = () => step(shown - 1);
  next.onclick = () => step(shown + 1);
  place.oninput = () => {
    if (stillness.matches) return step(sceneAt(Number(place.value)));
    seconds = Math.min(Number(place.value), total - 0.01);
    show();
  };
  root.onkeydown = (event) => {
    const to = { ArrowLeft: shown - 1, ArrowRight: shown + 1, Home: 0, End: scenes.length - 1 }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    step(to);
  };
  stillness.addEventListener('change', () => { run(false); step(shown); });

  run(false);
  step(0);
  return root;
}

// A page keeps the still where a notebook stores it. This model needs no output of its own: it looks for the stills of
// its run, also for those that appear later, and puts a player in the place of each.
function initialize({ model }) {
  const stills = `.labsec-story[data-story="${model.get('key')}"]:not(:has(> .story))`;
  const mount = () => document.querySelectorAll(stills).forEach((still) => still.replaceChildren(player(model.get('data'))));
  const watcher = new MutationObserver(mount);
  watcher.observe(document.body, { childList: true, subtree: true });
  mount();
  return () => watcher.disconnect();
}

export default { initialize };
