// Mouse, pen and fingers on the large picture: tools, window and level, moving, zoom, wheel.

export function listenToPointer(canvas, view, act) {
  const fingers = new Map();
  let drag = null; // {kind, x, y} of the pointer that is down
  let pinch = null;

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    if (fingers.size === 2) {
      act.cancelStroke();
      drag = null;
      pinch = spread(fingers);
      return;
    }
    const tool = event.button === 0 && act.editing() && !event.altKey;
    const kind = event.button === 1 ? "move" : tool ? "tool" : "window";
    drag = { kind, x: event.clientX, y: event.clientY };
    if (kind === "tool") act.beginStroke(...view.voxelAt(event.clientX, event.clientY));
  });

  canvas.addEventListener("pointermove", (event) => {
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event);
    if (pinch && fingers.size === 2) {
      const now = spread(fingers);
      const box = canvas.getBoundingClientRect();
      view.shift = [view.shift[0] + now.x - pinch.x, view.shift[1] + now.y - pinch.y];
      view.zoomBy(now.apart / pinch.apart, now.x - box.left, now.y - box.top);
      pinch = now;
      return;
    }
    act.hover(...view.voxelAt(event.clientX, event.clientY));
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (drag.kind === "tool") {
      for (const part of event.getCoalescedEvents?.() ?? [event]) {
        act.moveStroke(...view.voxelAt(part.clientX, part.clientY));
      }
    } else if (drag.kind === "window") {
      act.window(dx, dy);
    } else {
      view.shift = [view.shift[0] + dx, view.shift[1] + dy];
      view.draw();
    }
    [drag.x, drag.y] = [event.clientX, event.clientY];
  });

  const up = (event) => {
    fingers.delete(event.pointerId);
    if (fingers.size < 2) pinch = null;
    if (drag?.kind === "tool") act.endStroke();
    drag = null;
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", (event) => {
    act.cancelStroke();
    up(event);
  });
  canvas.addEventListener("pointerleave", () => act.hover(null));

  let rolled = 0;
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const way = event.deltaY || event.deltaX;
      if (event.ctrlKey) {
        const box = canvas.getBoundingClientRect();
        view.zoomBy(Math.exp(-way / 400), event.clientX - box.left, event.clientY - box.top);
        return;
      }
      rolled += event.deltaMode ? way * 40 : way; // a notch is about 100, a touchpad sends little bits
      const steps = Math.trunc(rolled / 40);
      if (!steps) return;
      rolled = 0;
      act.scroll(event.shiftKey ? Math.sign(steps) : 0, event.shiftKey ? 0 : Math.sign(steps));
    },
    { passive: false },
  );
}

function spread(fingers) {
  const [a, b] = [...fingers.values()];
  return {
    x: (a.clientX + b.clientX) / 2,
    y: (a.clientY + b.clientY) / 2,
    apart: Math.max(Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), 1),
  };
}
