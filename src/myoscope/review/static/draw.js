// Pixels and outlines of one plane.

// An edge between two structures takes the colour of the one that stands first here.
const RANK = [7, 4, 6, 2, 1, 3, 5]; // by code; background last
export const DASHES = { 3: [3, 2], 4: [1, 1.5], 5: [6, 3] }; // so that colour is not the only sign

export function paintImage(context, stack, t, z, fill, colours) {
  const image = stack.image(t, z);
  const labels = stack.plane(t, z);
  const { data } = (context.canvas.pixels ??= context.createImageData(stack.columns, stack.rows));
  const [low, high] = stack.levels;
  const scale = 255 / Math.max(high - low, 1);
  for (let i = 0, k = 0; i < stack.size; i++, k += 4) {
    const grey = (image[i] - low) * scale;
    const code = fill ? labels[i] : 0;
    if (code) {
      const [r, g, b] = colours[code];
      data[k] = 0.65 * Math.min(Math.max(grey, 0), 255) + 0.35 * r;
      data[k + 1] = 0.65 * Math.min(Math.max(grey, 0), 255) + 0.35 * g;
      data[k + 2] = 0.65 * Math.min(Math.max(grey, 0), 255) + 0.35 * b;
    } else {
      data[k] = data[k + 1] = data[k + 2] = grey;
    }
    data[k + 3] = 255;
  }
  context.putImageData(context.canvas.pixels, 0, 0);
}

// One path a structure, along the edges of its voxels, in voxels (0, 0 is the image's corner).
export function outlines(stack, t, z) {
  const labels = stack.plane(t, z);
  const paths = {};
  const { columns, rows } = stack;
  const add = (a, b, x0, y0, x1, y1) => {
    const path = (paths[RANK[a] < RANK[b] ? a : b] ??= new Path2D());
    path.moveTo(x0, y0);
    path.lineTo(x1, y1);
  };
  for (let r = 0; r < rows; r++) {
    for (let c = 0, i = r * columns; c < columns; c++, i++) {
      const code = labels[i];
      if (c + 1 < columns && labels[i + 1] !== code) add(code, labels[i + 1], c + 1, r, c + 1, r + 1);
      if (r + 1 < rows && labels[i + columns] !== code) add(code, labels[i + columns], c, r + 1, c + 1, r + 1);
    }
  }
  return paths;
}

export const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
