// Changes of one plane as runs [start, length, code], ascending: what goes to the server and comes from it.

// From the indices that may have changed and the codes before and now; only what differs is kept.
export function runsOf(indices, before, now) {
  const runs = [];
  let last = null;
  for (const i of [...indices].sort((a, b) => a - b)) {
    if (before(i) === now[i]) continue;
    if (last && last[0] + last[1] === i && last[2] === now[i]) last[1] += 1;
    else runs.push((last = [i, 1, now[i]]));
  }
  return runs;
}

export function applyRuns(plane, runs) {
  for (const [start, length, code] of runs) plane.fill(code, start, start + length);
}
