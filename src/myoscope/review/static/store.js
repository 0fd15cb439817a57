// Images and labels of the study, frame by frame as they arrive; the only place that holds voxels.

import { bytes } from "./api.js";
import { applyRuns } from "./runs.js";

export class Stack {
  constructor(series) {
    Object.assign(this, series);
    [this.frames, this.slices, this.rows, this.columns] = series.shape;
    this.size = this.rows * this.columns;
    this.images = Array(this.frames).fill(null);
    this.labels = Array(this.frames).fill(null);
    this.levels = [...series.window];
  }

  async load(t) {
    if (this.images[t]) return;
    const [image, labels] = await Promise.all(
      ["image", "labels"].map((what) => bytes(`/api/${what}/${this.role}/${t}`)),
    );
    this.images[t] = new Uint16Array(image);
    this.labels[t] = new Uint8Array(labels);
  }

  async reloadLabels(t) {
    this.labels[t] = new Uint8Array(await bytes(`/api/labels/${this.role}/${t}`));
  }

  image(t, z) {
    return this.images[t]?.subarray(z * this.size, (z + 1) * this.size);
  }

  plane(t, z) {
    return this.labels[t]?.subarray(z * this.size, (z + 1) * this.size);
  }

  apply(patches) {
    for (const { t, z, runs } of patches) if (this.labels[t]) applyRuns(this.plane(t, z), runs);
  }

  // Rows and columns [top, bottom, left, right) of what is labelled in a frame, with a margin; all where nothing is.
  box(t, margin = 0.35) {
    let [top, bottom, left, right] = [this.rows, 0, this.columns, 0];
    this.labels[t]?.forEach((code, i) => {
      if (!code) return;
      const row = Math.floor((i % this.size) / this.columns);
      const column = i % this.columns;
      [top, bottom] = [Math.min(top, row), Math.max(bottom, row + 1)];
      [left, right] = [Math.min(left, column), Math.max(right, column + 1)];
    });
    if (bottom <= top) return [0, this.rows, 0, this.columns];
    const [sy, sx] = [this.spacing_mm[1], this.spacing_mm[2]];
    const half = (0.5 + margin) * Math.max((bottom - top) * sy, (right - left) * sx);
    const [cy, cx] = [(top + bottom) / 2, (left + right) / 2];
    const clip = (value, most) => Math.min(Math.max(Math.round(value), 0), most);
    return [
      clip(cy - half / sy, this.rows),
      clip(cy + half / sy, this.rows),
      clip(cx - half / sx, this.columns),
      clip(cx + half / sx, this.columns),
    ];
  }
}
