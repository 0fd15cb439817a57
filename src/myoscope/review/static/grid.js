// All slices (rows) by all phases (columns), cut to the heart: where the base is wrong is seen at a glance.
// The slices of a series with one phase lie in rows of three.

const CELL = 52;
const TOP = 18;
const LEFT = 20;
const ABREAST = 3;

export class Grid {
  constructor(canvas, here, colours, go) {
    Object.assign(this, { canvas, here, colours });
    this.context = canvas.getContext("2d");
    canvas.addEventListener("click", (event) => {
      const row = Math.floor((event.offsetY - TOP) / this.cell);
      const column = Math.floor((event.offsetX - LEFT) / this.cell);
      const [t, z] = this.still ? [0, row * ABREAST + column] : [column, row];
      if (row >= 0 && column >= 0 && z < this.stack.slices && t < this.stack.frames) go(t, z);
    });
  }

  show(stack, box) {
    Object.assign(this, { stack, box });
    this.still = stack.frames === 1;
    this.cell = this.still ? 94 : CELL;
    const ratio = window.devicePixelRatio || 1;
    const columns = this.still ? ABREAST : stack.frames;
    const rows = this.still ? Math.ceil(stack.slices / ABREAST) : stack.slices;
    const [width, height] = [LEFT + columns * this.cell, TOP + rows * this.cell];
    [this.canvas.width, this.canvas.height] = [width * ratio, height * ratio];
    [this.canvas.style.width, this.canvas.style.height] = [`${width}px`, `${height}px`];
    this.ratio = ratio;
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const side = Math.round((this.cell - 2) * ratio);
    this.pixels = this.context.createImageData(side, side);
    for (let t = 0; t < stack.frames; t++) this.drawPhase(t);
  }

  // Corner of a cell, in CSS pixels.
  #corner(t, z) {
    const [column, row] = this.still ? [z % ABREAST, Math.floor(z / ABREAST)] : [t, z];
    return [LEFT + column * this.cell, TOP + row * this.cell];
  }

  // The heads of the rows and columns; `ed` and `es` are phases or null.
  drawHeads(ed, es) {
    const { context, ratio, stack } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.still) return;
    context.clearRect(0, 0, LEFT + stack.frames * this.cell, TOP);
    context.clearRect(0, 0, LEFT, TOP + stack.slices * this.cell);
    context.textAlign = "center";
    for (let t = 0; t < stack.frames; t++) {
      const head = t === ed ? "ED" : t === es ? "ES" : "";
      context.font = head ? "bold 12px sans-serif" : "11px sans-serif";
      context.fillStyle = head ? "#fff" : "#9aa4ad";
      context.fillText(head || `${t + 1}`, LEFT + (t + 0.5) * this.cell, 13);
    }
    context.font = "11px sans-serif";
    context.fillStyle = "#9aa4ad";
    for (let z = 0; z < stack.slices; z++) context.fillText(`${z + 1}`, LEFT / 2, TOP + (z + 0.5) * this.cell + 4);
  }

  drawPhase(t) {
    for (let z = 0; z < this.stack.slices; z++) this.drawCell(t, z);
  }

  drawCell(t, z) {
    const { stack, pixels, ratio } = this;
    const image = stack.image(t, z);
    if (!image) return;
    const labels = stack.plane(t, z);
    const { width, height, data } = pixels;
    const [top, bottom, left, right] = this.box;
    const [, sy, sx] = stack.spacing_mm;
    const step = Math.max(((right - left) * sx) / width, ((bottom - top) * sy) / height); // mm a pixel
    const [x0, y0] = [(left + right) / 2 - (width * step) / sx / 2, (top + bottom) / 2 - (height * step) / sy / 2];
    const [low, high] = stack.levels;
    const scale = 255 / Math.max(high - low, 1);
    const at = (column, row) => {
      const [c, r] = [Math.floor(x0 + ((column + 0.5) * step) / sx), Math.floor(y0 + ((row + 0.5) * step) / sy)];
      return c < 0 || r < 0 || c >= stack.columns || r >= stack.rows ? -1 : r * stack.columns + c;
    };
    for (let row = 0, k = 0; row < height; row++) {
      for (let column = 0; column < width; column++, k += 4) {
        const i = at(column, row);
        const grey = i < 0 ? 0 : (image[i] - low) * scale;
        const code = i < 0 ? 0 : labels[i];
        const [right_, below] = [at(column + 1, row), at(column, row + 1)];
        const edge = (right_ >= 0 && labels[right_] !== code) || (below >= 0 && labels[below] !== code);
        const other = edge ? code || labels[right_] || labels[below] : 0;
        const colour = other ? this.colours[other] : null;
        data[k] = colour ? colour[0] : grey;
        data[k + 1] = colour ? colour[1] : grey;
        data[k + 2] = colour ? colour[2] : grey;
        data[k + 3] = 255;
      }
    }
    const [x, y] = this.#corner(t, z);
    this.context.putImageData(pixels, Math.round((x + 1) * ratio), Math.round((y + 1) * ratio));
    if (this.still) {
      this.context.fillStyle = "#fff";
      this.context.fillText(`${z + 1}`, x + 10, y + 15);
    }
  }

  // Mark the cell that is shown large, and keep it in sight.
  mark(t, z, scroll = true) {
    const [x, y] = this.#corner(t, z);
    Object.assign(this.here.style, { width: `${this.cell}px`, height: `${this.cell}px`, transform: `translate(${x}px, ${y}px)` });
    const room = this.canvas.parentElement;
    if (!scroll) return;
    const margin = this.cell;
    if (x - margin < room.scrollLeft) room.scrollLeft = x - margin;
    if (x + 2 * margin > room.scrollLeft + room.clientWidth) room.scrollLeft = x + 2 * margin - room.clientWidth;
    if (y - margin < room.scrollTop) room.scrollTop = y - margin;
    if (y + 2 * margin > room.scrollTop + room.clientHeight) room.scrollTop = y + 2 * margin - room.clientHeight;
  }
}
