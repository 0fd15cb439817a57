// The keyboard, whole: [key as it is told, what it does, name of the action]. `help` is made of the same list.

export const KEYS = [
  ["ArrowUp", "slice before", "sliceBefore"],
  ["ArrowDown", "slice after", "sliceAfter"],
  ["ArrowLeft", "phase before", "phaseBefore"],
  ["ArrowRight", "phase after", "phaseAfter"],
  ["Space", "play or stop", "play"],
  ["n", "next series", "nextSeries"],
  ["c", "contours on or off", "contours"],
  ["x", "colour on or off", "colours"],
  ["+", "zoom in", "zoomIn"],
  ["-", "zoom out", "zoomOut"],
  ["0", "whole picture", "fit"],
  ["h", "look at the heart", "heart"],
  ["PageUp", "brighter", "brighter"],
  ["PageDown", "darker", "darker"],
  ["Home", "more contrast", "harder"],
  ["End", "less contrast", "softer"],
  ["r", "window as at the beginning", "window"],
  ["i", "edit, or only look", "edit"],
  ["b", "brush", "brush"],
  ["e", "eraser", "eraser"],
  ["p", "push the contour", "push"],
  ["f", "fill", "fill"],
  ["1", "LV blood pool", "structure1"],
  ["2", "LV myocardium", "structure2"],
  ["3", "infarct", "structure3"],
  ["4", "no-reflow", "structure4"],
  ["5", "edema", "structure5"],
  ["6", "RV blood pool", "structure6"],
  ["[", "smaller tool", "smaller"],
  ["]", "larger tool", "larger"],
  ["w", "tool up", "up"],
  ["s", "tool down", "down"],
  ["a", "tool left", "left"],
  ["d", "tool right", "right"],
  ["Enter", "use the tool where it is", "use"],
  ["Shift+ArrowUp", "copy to slice before", "copyUp"],
  ["Shift+ArrowDown", "copy to slice after", "copyDown"],
  ["Shift+ArrowLeft", "copy to phase before", "copyLeft"],
  ["Shift+ArrowRight", "copy to phase after", "copyRight"],
  ["Delete", "delete slice", "delete"],
  ["Shift+Delete", "delete slice in all phases", "deleteAll"],
  ["Shift+D", "this phase is end-diastole", "ed"],
  ["Shift+S", "this phase is end-systole", "es"],
  ["Ctrl+z", "undo", "undo"],
  ["Ctrl+Shift+Z", "redo", "redo"],
  ["Ctrl+y", "redo", "redo"],
  ["Ctrl+s", "save", "save"],
  ["?", "this list", "help"],
];

const actionOf = new Map(KEYS.map(([key, , action]) => [key, action]));

function nameOf(event) {
  const key = event.key === " " ? "Space" : event.key;
  const shifted = event.shiftKey && (key.length > 1 || /[A-Z]/.test(key));
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${shifted ? "Shift+" : ""}${key}`;
}

export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.altKey) return;
    const { target } = event;
    const name = nameOf(event);
    const ranges = target.matches?.("input") && /^(Arrow|Page|Home|End)/.test(name);
    const buttons = target.matches?.("button, input") && ["Space", "Enter"].includes(name);
    const action = actions[actionOf.get(name)];
    if (!action || ranges || buttons) return;
    event.preventDefault();
    action();
  });
}
