// The large picture: one slice, zoomed and shifted, with contours and the tool's outline.

import { DASHES, outlines, paintImage } from "./draw.js";

export class View {
  constructor(canvas, colours, hexes) {
    Object.assign(this, { canvas, colours, hexes });
    this.context = canvas.getContext("2d");
    this.buffer = document.createElement("canvas");
    this.zoom = 1;
    this.shift = [0, 0]; // of the picture's middle, in CSS pixels
    this.contours = true;
    this.fill = false;
    this.cursor = null; // {x, y, radius} in voxels and mm
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(stack, t, z) {
    if (this.stack !== stack) {
      [this.buffer.width, this.buffer.height] = [stack.columns, stack.rows];
      this.buffer.pixels = undefined;
      this.stack = stack;
    }
    [this.t, this.z] = [t, z];
    this.draw();
  }

  // CSS pixels of a millimetre, and of the picture's corner.
  get place() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [, sy, sx] = this.stack.spacing_mm;
    const [w, h] = [this.stack.columns * sx, this.stack.rows * sy];
    const scale = Math.min(width / w, height / h) * this.zoom;
    return { scale, left: (width - w * scale) / 2 + this.shift[0], top: (height - h * scale) / 2 + this.shift[1] };
  }

  // Voxel coordinates (0, 0 is the middle of the first voxel) of a place on the canvas.
  voxelAt(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const { scale, left, top } = this.place;
    const [, sy, sx] = this.stack.spacing_mm;
    return [(clientX - box.left - left) / scale / sx - 0.5, (clientY - box.top - top) / scale / sy - 0.5];
  }

  // Zoom so that rows and columns [top, bottom, left, right) fill the canvas.
  lookAt([top, bottom, left, right]) {
    [this.zoom, this.shift] = [1, [0, 0]];
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [, sy, sx] = this.stack.spacing_mm;
    const { scale } = this.place;
    this.zoom = Math.max(1, Math.min(width / ((right - left) * sx), height / ((bottom - top) * sy)) / scale);
    const k = scale * this.zoom;
    this.shift = [
      (this.stack.columns / 2 - (left + right) / 2) * sx * k,
      (this.stack.rows / 2 - (top + bottom) / 2) * sy * k,
    ];
    this.draw();
  }

  zoomBy(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const zoom = Math.min(Math.max(this.zoom * factor, 0.5), 20);
    const k = zoom / this.zoom;
    const middle = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
    this.shift = [x, y].map((at, i) => (at - middle[i]) * (1 - k) + this.shift[i] * k);
    this.zoom = zoom;
    this.draw();
  }

  draw() {
    if (!this.stack?.image(this.t, this.z)) return;
    const { canvas, context, stack } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    paintImage(this.buffer.getContext("2d"), stack, this.t, this.z, this.fill, this.colours);
    const { scale, left, top } = this.place;
    const [, sy, sx] = stack.spacing_mm;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    context.imageSmoothingEnabled = true;
    context.drawImage(this.buffer, left, top, stack.columns * sx * scale, stack.rows * sy * scale);
    const voxels = new DOMMatrix([sx * scale, 0, 0, sy * scale, left, top]);
    if (this.contours) this.#drawOutlines(voxels);
    if (this.cursor) this.#drawCursor(scale, left, top);
  }

  #drawOutlines(voxels) {
    const { context } = this;
    for (const [code, path] of Object.entries(outlines(this.stack, this.t, this.z))) {
      const onScreen = new Path2D();
      onScreen.addPath(path, voxels);
      context.setLineDash([]);
      context.strokeStyle = "rgb(0 0 0 / 55%)";
      context.lineWidth = 3.5;
      context.stroke(onScreen);
      context.setLineDash(DASHES[code] ?? []);
      context.strokeStyle = this.hexes[code];
      context.lineWidth = 1.8;
      context.stroke(onScreen);
    }
    context.setLineDash([]);
  }

  #drawCursor(scale, left, top) {
    const { context, cursor, stack } = this;
    const [, sy, sx] = stack.spacing_mm;
    context.beginPath();
    const [x, y] = [left + (cursor.x + 0.5) * sx * scale, top + (cursor.y + 0.5) * sy * scale];
    context.arc(x, y, Math.max(cursor.radius * scale, 3), 0, 2 * Math.PI);
    context.strokeStyle = "#000";
    context.lineWidth = 3;
    context.stroke();
    context.strokeStyle = cursor.colour;
    context.lineWidth = 1.5;
    context.stroke();
  }
}
