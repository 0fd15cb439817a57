// What the tools do to one plane of labels. Pure: planes go in, changed voxels come out (written into the plane).

export const WALL = new Set([2, 3, 4, 5]);
const SCAR = new Set([3, 4, 5]);
const UNDER = { 1: 0, 2: 0, 3: 2, 4: 3, 5: 2, 6: 0 }; // what is left where a structure is erased

// The code that painting `structure` over `old` gives: infarct, no-reflow and edema are painted on the wall only.
export const painted = (structure, old) => (SCAR.has(structure) && !WALL.has(old) ? old : structure);

export const erased = (structure, old) => (old === structure ? UNDER[structure] : old);

// Indices of the voxels whose centres lie within `radius` mm of (x, y), in voxels; at least the voxel there.
export function disc(x, y, radius, stack) {
  const [sy, sx] = [stack.spacing_mm[1], stack.spacing_mm[2]];
  const found = [];
  const [row, column] = [Math.round(y), Math.round(x)];
  for (let r = Math.ceil(y - radius / sy); r <= y + radius / sy; r++) {
    for (let c = Math.ceil(x - radius / sx); c <= x + radius / sx; c++) {
      if (r < 0 || c < 0 || r >= stack.rows || c >= stack.columns) continue;
      if (Math.hypot((r - y) * sy, (c - x) * sx) <= radius) found.push(r * stack.columns + c);
    }
  }
  if (!found.length && row >= 0 && column >= 0 && row < stack.rows && column < stack.columns) {
    found.push(row * stack.columns + column);
  }
  return found;
}

// Indices of the connected region of one code around a voxel; null where it reaches the image's edge.
export function region(plane, start, stack) {
  const code = plane[start];
  const seen = new Set([start]);
  const open = [start];
  while (open.length) {
    const i = open.pop();
    const column = i % stack.columns;
    const row = (i - column) / stack.columns;
    if (row === 0 || column === 0 || row === stack.rows - 1 || column === stack.columns - 1) return null;
    for (const next of [i - 1, i + 1, i - stack.columns, i + stack.columns]) {
      if (plane[next] === code && !seen.has(next)) {
        seen.add(next);
        open.push(next);
      }
    }
  }
  return seen;
}

// Points from one place to another, no further apart than half a voxel.
export function line(x0, y0, x1, y1) {
  const steps = Math.max(1, Math.ceil(2 * Math.hypot(x1 - x0, y1 - y0)));
  return Array.from({ length: steps }, (_, k) => [
    x0 + ((x1 - x0) * (k + 1)) / steps,
    y0 + ((y1 - y0) * (k + 1)) / steps,
  ]);
}
