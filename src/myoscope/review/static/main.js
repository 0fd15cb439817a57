// The page: where we look, what is shown, and who listens to whom.

import { enter, get, listen, post } from "./api.js";
import { rgb } from "./draw.js";
import { Editor } from "./editor.js";
import { Grid } from "./grid.js";
import { KEYS, listenToKeys } from "./keys.js";
import { Numbers } from "./numbers.js";
import { listenToPointer } from "./pointer.js";
import { Player, USUAL_MS } from "./player.js";
import { Stack } from "./store.js";
import { View } from "./view.js";

const TOOLS = [["brush", "Brush"], ["eraser", "Eraser"], ["push", "Push"], ["fill", "Fill"]];
const $ = (id) => document.getElementById(id);

class Screen {
  constructor(study) {
    this.study = study;
    this.hexes = Object.fromEntries(study.structures.map(({ code, colour }) => [code, colour]));
    this.colours = Object.fromEntries(study.structures.map(({ code, colour }) => [code, rgb(colour)]));
    this.stacks = study.series.map((series) => new Stack(series));
    this.view = new View($("view"), this.colours, this.hexes);
    this.grid = new Grid($("grid"), $("here"), this.colours, (t, z) => this.go(t, z));
    this.numbers = new Numbers($("numbers"), $("curve"), study.shown);
    this.editor = new Editor(this);
    this.player = new Player((phases) => this.go(this.t + phases, this.z));
    this.old = study.old;
    this.state = study.state;
  }

  where() {
    return { stack: this.stack, t: this.t, z: this.z };
  }

  // --- where we look ---

  async choose(role) {
    this.stop();
    const stack = this.stacks.find((one) => one.role === role);
    this.stack = stack;
    for (const button of $("series").children) button.setAttribute("aria-pressed", button.dataset.role === role);
    this.t = role === "cine" ? (this.state.ed ?? 0) : 0;
    this.z = Math.floor(stack.slices / 2);
    await stack.load(this.t);
    this.box = stack.box(this.t);
    this.view.show(stack, this.t, this.z);
    this.view.lookAt(this.box);
    performance.mark("first picture");
    this.grid.show(stack, this.box);
    this.grid.drawHeads(this.#phase("ed"), this.#phase("es"));
    for (const [id, count] of [["slice", stack.slices], ["phase", stack.frames]]) {
      Object.assign($(id), { max: count, disabled: count === 1 });
    }
    for (const id of ["play", "ed", "es", "copy-left", "copy-right", "delete-all"]) $(id).disabled = stack.frames === 1;
    this.go(this.t, this.z);
    this.take({ ...this.state, changed: null });
    for (let k = 1; k < stack.frames; k++) {
      const t = (this.t + k) % stack.frames;
      await stack.load(t);
      if (this.stack !== stack) return;
      this.grid.drawPhase(t);
    }
    document.body.dataset.loaded = role;
  }

  go(t, z) {
    const { stack } = this;
    const frame = ((t % stack.frames) + stack.frames) % stack.frames;
    const slice = Math.min(Math.max(z, 0), stack.slices - 1);
    if (!stack.images[frame]) return;
    if (this.editor.stroke) this.editor.end();
    [this.t, this.z] = [frame, slice];
    this.view.show(stack, frame, slice);
    this.grid.mark(frame, slice, !this.player.playing);
    [$("slice").value, $("phase").value] = [slice + 1, frame + 1];
    $("slice-said").textContent = `${slice + 1}/${stack.slices}`;
    $("phase-said").textContent = `${frame + 1}/${stack.frames}`;
    if (!this.player.playing) this.#say_where();
    this.numbers.drawCurve(this.state, frame, this.hexes);
  }

  #say_where() {
    const { stack, t, z } = this;
    const found = new Set(stack.plane(t, z));
    const names = this.study.structures.filter(({ code }) => found.has(code)).map(({ title }) => title);
    const phase = t === this.#phase("ed") ? " (end-diastole)" : t === this.#phase("es") ? " (end-systole)" : "";
    $("view").setAttribute(
      "aria-label",
      `${stack.role}, slice ${z + 1} of ${stack.slices}, phase ${t + 1} of ${stack.frames}${phase}; ` +
        (names.length ? `drawn: ${names.join(", ")}` : "nothing drawn"),
    );
  }

  #phase(name) {
    return this.stack.role === "cine" ? this.state[name] : null;
  }

  stop() {
    if (this.player.playing) this.play();
  }

  play() {
    if (this.stack?.frames === 1) return;
    const known = this.stack.frame_time_ms;
    this.player.toggle(known ?? USUAL_MS);
    $("play").setAttribute("aria-pressed", this.player.playing);
    $("play").textContent = this.player.playing ? "Stop" : "Play";
    if (this.player.playing && !known) this.say(`The images do not say how fast; shown at ${1000 / USUAL_MS} a second.`);
  }

  // --- what is shown ---

  redraw(t, z) {
    if (this.t === t && this.z === z) this.view.draw();
    this.grid.drawCell(t, z);
  }

  redrawAll() {
    this.view.draw();
    cancelAnimationFrame(this.later);
    this.later = requestAnimationFrame(() => {
      for (let t = 0; t < this.stack.frames; t++) this.grid.drawPhase(t);
    });
  }

  level(contrast, brightness) {
    const { levels } = this.stack;
    const [middle, half] = [(levels[0] + levels[1]) / 2 - brightness, Math.max(((levels[1] - levels[0]) / 2) * contrast, 8)];
    this.stack.levels = [middle - half, middle + half];
    $("window-said").textContent = `Window ${Math.round(half / 327.68)} %, level ${Math.round(middle / 655.36)} %`;
    this.redrawAll();
  }

  toggle(id, name) {
    this.view[name] = !this.view[name];
    $(id).setAttribute("aria-pressed", this.view[name]);
    this.view.draw();
  }

  say(message) {
    $("message").textContent = message;
  }

  warn(message, offer = false) {
    $("banner").hidden = !message;
    $("told").textContent = message;
    $("takeover").hidden = !offer;
  }

  // --- editing ---

  async begin(take_over = false) {
    try {
      await post("/api/begin", { take_over });
    } catch (error) {
      this.warn(error.status === 409 ? "Another tab edits this study. This one only shows it." : error.message, error.status === 409);
      return;
    }
    this.warn("");
    this.setEditing(true);
  }

  async toggleEditing() {
    if (!this.editor.editing) return this.begin();
    await this.editor.queue;
    this.setEditing(false);
    await post("/api/end").catch(() => {});
  }

  setEditing(editing) {
    this.editor.editing = editing;
    $("tools").disabled = !editing;
    $("edit").setAttribute("aria-pressed", editing);
    document.body.classList.toggle("editing", editing);
    if (!editing) this.hover(null);
    this.take(this.state);
  }

  // Take a state from the server: numbers, phases, and planes that it changed.
  take(state) {
    const moved = state.ed !== this.state.ed || state.es !== this.state.es;
    if (this.state.dirty && !state.dirty) this.old = { ...state.numbers };
    this.state = state;
    if (state.changed) this.patch(state.changed, true);
    this.numbers.show(state, this.old);
    this.numbers.drawCurve(state, this.t, this.hexes);
    if (moved) this.grid.drawHeads(this.#phase("ed"), this.#phase("es"));
    const { editing } = this.editor;
    [$("undo").disabled, $("redo").disabled] = [!editing || !state.undo, !editing || !state.redo];
    $("save").disabled = !editing || !state.dirty;
    for (const name of ["ed", "es"]) $(name).setAttribute("aria-pressed", state.by_hand.includes(`${name}_frame`));
    $("saved").textContent = state.dirty ? "Not saved" : "";
    document.body.dataset.steps = state.undo;
    this.#say_where();
  }

  patch({ role, patches }, follow) {
    const stack = this.stacks.find((one) => one.role === role);
    stack.apply(patches);
    if (stack !== this.stack) return follow ? this.choose(role) : undefined;
    for (const { t, z } of patches) this.redraw(t, z);
    if (follow && patches.length === 1) this.go(patches[0].t, patches[0].z);
  }

  async fail(message) {
    this.warn(message);
    this.setEditing(false);
    await Promise.all(this.stacks.flatMap((s) => s.labels.map((found, t) => found && s.reloadLabels(t)))).catch(() => {});
    this.redrawAll();
  }

  hover(x, y) {
    const radius = this.editor.tool === "fill" ? 0 : this.editor.size / 2;
    const show = x !== null && this.editor.editing;
    this.view.cursor = show ? { x, y, radius, colour: this.hexes[this.editor.structure] } : null;
    if (!this.editor.stroke) this.view.draw();
  }

  // Move the tool by voxels with the keyboard.
  nudge(dx, dy) {
    const { cursor } = this.view;
    const [x, y] = cursor ? [cursor.x, cursor.y] : [this.stack.columns / 2, this.stack.rows / 2];
    this.hover(Math.round(x) + dx, Math.round(y) + dy);
  }

  use() {
    const { cursor } = this.view;
    if (!cursor || !this.editor.editing) return;
    this.editor.begin(cursor.x, cursor.y);
    this.editor.end();
  }

  pick(kind, value) {
    this.editor[kind] = value;
    for (const button of $(kind).children) button.setAttribute("aria-checked", button.dataset.value === String(value));
    if (this.view.cursor) this.hover(this.view.cursor.x, this.view.cursor.y);
  }

  resize(size) {
    this.editor.size = Math.min(Math.max(size, 1), 40);
    $("size").value = this.editor.size;
    $("size-said").textContent = `${this.editor.size} mm`;
    if (this.view.cursor) this.hover(this.view.cursor.x, this.view.cursor.y);
  }
}

function actionsOf(screen) {
  const { editor, view } = screen;
  const span = () => screen.stack.levels[1] - screen.stack.levels[0];
  const actions = {
    sliceBefore: () => screen.go(screen.t, screen.z - 1),
    sliceAfter: () => screen.go(screen.t, screen.z + 1),
    phaseBefore: () => screen.go(screen.t - 1, screen.z),
    phaseAfter: () => screen.go(screen.t + 1, screen.z),
    play: () => screen.play(),
    nextSeries: () => {
      const { stacks } = screen;
      screen.choose(stacks[(stacks.indexOf(screen.stack) + 1) % stacks.length].role);
    },
    contours: () => screen.toggle("contours", "contours"),
    colours: () => screen.toggle("colours", "fill"),
    zoomIn: () => view.zoomBy(1.25),
    zoomOut: () => view.zoomBy(0.8),
    fit: () => view.lookAt([0, screen.stack.rows, 0, screen.stack.columns]),
    heart: () => view.lookAt(screen.stack.box(screen.t)),
    brighter: () => screen.level(1, 0.05 * span()),
    darker: () => screen.level(1, -0.05 * span()),
    harder: () => screen.level(0.9, 0),
    softer: () => screen.level(1 / 0.9, 0),
    window: () => {
      screen.stack.levels = [...screen.stack.window];
      screen.level(1, 0);
    },
    edit: () => screen.toggleEditing(),
    smaller: () => screen.resize(editor.size - 1),
    larger: () => screen.resize(editor.size + 1),
    up: () => screen.nudge(0, -1),
    down: () => screen.nudge(0, 1),
    left: () => screen.nudge(-1, 0),
    right: () => screen.nudge(1, 0),
    use: () => screen.use(),
    copyUp: () => editor.copy(0, -1),
    copyDown: () => editor.copy(0, 1),
    copyLeft: () => editor.copy(-1, 0),
    copyRight: () => editor.copy(1, 0),
    delete: () => editor.deleteSlice(false),
    deleteAll: () => editor.deleteSlice(true),
    ed: () => editor.chooseFrame("ed_frame"),
    es: () => editor.chooseFrame("es_frame"),
    undo: () => editor.undo(),
    redo: () => editor.redo(),
    save: () => editor.save(),
    help: () => $("help").showModal(),
  };
  for (const [tool] of TOOLS) actions[tool] = () => screen.pick("tool", tool);
  for (const { code } of screen.study.structures) actions[`structure${code}`] = () => screen.pick("structure", code);
  return actions;
}

function button(text, kind, value, chosen) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.dataset[kind] = value;
  made.addEventListener("click", chosen);
  return made;
}

function furnish(screen, actions) {
  for (const { role } of screen.stacks) {
    $("series").append(button(role.toUpperCase(), "role", role, () => screen.choose(role)));
  }
  for (const [tool, title] of TOOLS) $("tool").append(button(title, "value", tool, actions[tool]));
  for (const { code, title, colour } of screen.study.structures) {
    const made = button(`${code} ${title}`, "value", code, actions[`structure${code}`]);
    made.style.setProperty("--colour", colour);
    $("structure").append(made);
  }
  for (const made of [...$("tool").children, ...$("structure").children]) made.setAttribute("role", "radio");
  const click = {
    edit: "edit", undo: "undo", redo: "redo", save: "save", keys: "help", play: "play", ed: "ed", es: "es",
    contours: "contours", colours: "colours", smaller: "zoomOut", larger: "zoomIn", fit: "fit", window: "window",
    "copy-up": "copyUp", "copy-down": "copyDown", "copy-left": "copyLeft", "copy-right": "copyRight",
    delete: "delete", "delete-all": "deleteAll",
  };
  for (const [id, action] of Object.entries(click)) $(id).addEventListener("click", actions[action]);
  $("slice").addEventListener("input", () => screen.go(screen.t, $("slice").value - 1));
  $("phase").addEventListener("input", () => screen.go($("phase").value - 1, screen.z));
  $("size").addEventListener("input", () => screen.resize(Number($("size").value)));
  $("takeover").addEventListener("click", () => screen.begin(true));
  $("help-close").addEventListener("click", () => $("help").close());
  for (const [key, what] of KEYS) {
    const row = $("help").querySelector("tbody").insertRow();
    row.insertCell().append(Object.assign(document.createElement("kbd"), { textContent: key.replace("Arrow", "") }));
    row.insertCell().textContent = what;
  }
}

function told(screen, event) {
  if (event.taken_over) {
    screen.setEditing(false);
    screen.warn("Another tab took over. This one only shows the study.", true);
  }
  if (event.free && !screen.editor.editing) screen.warn("");
  if (event.state) {
    screen.take({ ...event.state, changed: null });
    if (event.changed) screen.patch(event.changed, false);
  }
}

async function start() {
  try {
    await enter();
  } catch (error) {
    $("banner").hidden = false;
    $("told").textContent = `${error.message}.`;
    return;
  }
  const screen = new Screen(await get("/api/study"));
  const actions = actionsOf(screen);
  furnish(screen, actions);
  listenToKeys(actions);
  listenToPointer($("view"), screen.view, {
    editing: () => screen.editor.editing,
    beginStroke: (x, y) => screen.editor.begin(x, y),
    moveStroke: (x, y) => screen.editor.move(x, y),
    endStroke: () => screen.editor.end(),
    cancelStroke: () => screen.editor.cancel(),
    hover: (x, y) => screen.hover(x, y),
    window: (dx, dy) => screen.level(Math.exp(-dx / 300), (dy / 300) * (screen.stack.levels[1] - screen.stack.levels[0]) * -1),
    scroll: (dt, dz) => screen.go(screen.t + dt, screen.z + dz),
  });
  window.addEventListener("beforeunload", (event) => {
    if (screen.state.dirty || screen.editor.waiting) event.preventDefault();
  });
  screen.pick("tool", "brush");
  screen.pick("structure", 1);
  screen.resize(8);
  listen((event) => told(screen, event), () => screen.fail("The server has ended. Strokes that it confirmed are kept."));
  if (screen.study.other_tab) screen.warn("Another tab edits this study. This one only shows it.", true);
  else if (screen.study.notice) screen.warn(screen.study.notice);
  const first = screen.stacks.find((stack) => stack.labelled) ?? screen.stacks[0];
  await screen.choose(first.role);
}

start().catch((error) => {
  $("banner").hidden = false;
  $("told").textContent = error.message;
});
