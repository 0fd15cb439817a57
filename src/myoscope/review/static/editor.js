// Editing: strokes become runs, are shown at once, and sent to the server one after the other.

import { Refused, post } from "./api.js";
import { runsOf } from "./runs.js";
import { disc, erased, line, painted, region } from "./tools.js";

export class Editor {
  // `screen` says where we are (stack, t, z), redraws planes, takes states and messages.
  constructor(screen) {
    this.screen = screen;
    this.editing = false;
    this.tool = "brush";
    this.structure = 1;
    this.size = 8; // diameter in mm
    this.queue = Promise.resolve();
    this.waiting = 0;
  }

  // --- strokes ---

  begin(x, y) {
    const { stack, t, z } = this.screen.where();
    const plane = stack.plane(t, z);
    if (!plane || this.#belongsElsewhere(stack)) return;
    this.stroke = { stack, t, z, plane, before: plane.slice(), touched: new Set(), x, y };
    const under = plane[Math.round(y) * stack.columns + Math.round(x)];
    this.stroke.pushed = under ?? 0;
    if (this.tool === "fill") this.#fill(x, y);
    else this.#dab(x, y);
  }

  move(x, y) {
    if (!this.stroke || this.tool === "fill") return;
    for (const [px, py] of line(this.stroke.x, this.stroke.y, x, y)) this.#touch(px, py);
    [this.stroke.x, this.stroke.y] = [x, y];
    this.screen.redraw(this.stroke.t, this.stroke.z);
  }

  end() {
    const { stroke } = this;
    this.stroke = null;
    if (!stroke) return;
    const runs = runsOf(stroke.touched, (i) => stroke.before[i], stroke.plane);
    if (runs.length) this.#send(stroke.stack, [{ t: stroke.t, z: stroke.z, runs }]);
  }

  cancel() {
    if (this.stroke) this.stroke.plane.set(this.stroke.before);
    this.stroke = null;
  }

  #dab(x, y) {
    this.#touch(x, y);
    this.screen.redraw(this.stroke.t, this.stroke.z);
  }

  #touch(x, y) {
    const { stack, plane, touched, pushed } = this.stroke;
    for (const i of disc(x, y, this.size / 2, stack)) {
      touched.add(i);
      if (this.tool === "brush") plane[i] = painted(this.structure, plane[i]);
      else if (this.tool === "eraser") plane[i] = erased(this.structure, plane[i]);
      else plane[i] = painted(pushed, plane[i]);
    }
  }

  #fill(x, y) {
    const { stack, plane, touched, t, z } = this.stroke;
    const [row, column] = [Math.round(y), Math.round(x)];
    if (row < 0 || column < 0 || row >= stack.rows || column >= stack.columns) return;
    const found = region(plane, row * stack.columns + column, stack);
    if (!found) {
      this.screen.say("Nothing to fill: no contour closes this region.");
      return;
    }
    for (const i of found) {
      touched.add(i);
      plane[i] = painted(this.structure, plane[i]);
    }
    this.screen.redraw(t, z);
  }

  // --- whole slices ---

  // Copy what is drawn on this slice to the slice or phase beside it, and go there.
  copy(dt, dz) {
    const { stack, t, z } = this.screen.where();
    const frame = (t + dt + stack.frames) % stack.frames;
    const slice = z + dz;
    if (!this.editing || slice < 0 || slice >= stack.slices || frame === t && !dz || !stack.labels[frame]) return;
    this.#replace(stack, [[frame, slice, stack.plane(t, z)]]);
    this.screen.go(frame, slice);
    this.screen.say(`Contours copied to slice ${slice + 1}, phase ${frame + 1}.`);
  }

  deleteSlice(everywhere) {
    const { stack, t, z } = this.screen.where();
    if (!this.editing) return;
    const phases = everywhere ? [...Array(stack.frames).keys()] : [t];
    if (phases.some((phase) => !stack.labels[phase])) return this.screen.say("Not all phases are loaded yet.");
    this.#replace(stack, phases.map((phase) => [phase, z, new Uint8Array(stack.size)]));
    this.screen.say(`Contours of slice ${z + 1} deleted${everywhere ? " in all phases" : ""}.`);
  }

  // A joint map is drawn on one series and speaks for others: these have none of their own to change.
  #belongsElsewhere(stack) {
    if (stack.map_on) this.screen.say(`${stack.role.toUpperCase()} is measured from the map on ${stack.map_on.toUpperCase()}: correct it there.`);
    return Boolean(stack.map_on);
  }

  #replace(stack, planes) {
    if (this.#belongsElsewhere(stack)) return;
    const patches = [];
    for (const [t, z, codes] of planes) {
      const plane = stack.plane(t, z);
      const before = plane.slice();
      plane.set(codes);
      const runs = runsOf(plane.keys(), (i) => before[i], plane);
      if (runs.length) patches.push({ t, z, runs });
      this.screen.redraw(t, z);
    }
    if (patches.length) this.#send(stack, patches);
  }

  // --- the server ---

  #send(stack, patches) {
    this.ask("/api/do", { role: stack.role, patches });
  }

  chooseFrame(name) {
    const { t } = this.screen.where();
    const { by_hand, [name.slice(0, 2)]: now } = this.screen.state;
    const taken = by_hand.includes(name) && now === t; // chosen again: let go
    if (this.editing) this.ask("/api/do", { frames: { [name]: taken ? null : t } });
  }

  undo() {
    if (this.editing) this.ask("/api/undo");
  }

  redo() {
    if (this.editing) this.ask("/api/redo");
  }

  save() {
    if (!this.editing) return;
    this.screen.say("Saving: report, tables and label maps are written again.");
    this.ask("/api/save").then((state) => state && this.screen.say("Saved. The report in the folder is new."));
  }

  // Ask for one thing after the other; a refusal is shown, and the labels are fetched again.
  ask(path, body) {
    this.waiting += 1;
    const asked = this.queue.then(() => post(path, body));
    this.queue = asked.then(
      (state) => this.screen.take(state),
      (error) => this.screen.fail(error instanceof Refused ? error.message : String(error)),
    );
    this.queue = this.queue.finally(() => (this.waiting -= 1));
    return asked.catch(() => null);
  }
}
