// Numbers now beside those of the last save, and the volume over the phases.

const text = (value) => (value === null || value === undefined ? "–" : value.toFixed(1));

export class Numbers {
  constructor(table, curve, shown) {
    Object.assign(this, { curve, shown, body: table.querySelector("tbody"), refused: table.nextElementSibling });
    this.rows = new Map();
    for (const { name, title, unit } of shown) {
      const row = this.body.insertRow();
      row.innerHTML = `<th scope="row"></th><td class="now"></td><td class="before"></td>`;
      row.cells[0].textContent = `${title}, ${unit}`;
      row.dataset.name = name;
      this.rows.set(name, row);
    }
  }

  show({ numbers: now, reasons }, old) {
    for (const [name, row] of this.rows) {
      row.hidden = now[name] === null && old[name] === null;
      const [a, b] = [text(now[name]), text(old[name])];
      row.cells[1].textContent = a;
      row.cells[2].textContent = b;
      row.classList.toggle("changed", a !== b);
    }
    this.refused.textContent = [...new Set(Object.values(reasons))].map((why) => `Not measured: ${why}.`).join(" ");
  }

  drawCurve({ curves, ed, es }, t, colours) {
    const { curve } = this;
    curve.hidden = !curves.lv || curves.lv.length < 3;
    if (curve.hidden) return;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [curve.clientWidth, curve.clientHeight];
    [curve.width, curve.height] = [width * ratio, height * ratio];
    const context = curve.getContext("2d");
    context.scale(ratio, ratio);
    const most = Math.max(...curves.lv, ...curves.rv, 1);
    const [x, y] = [(k) => 8 + (k * (width - 16)) / (curves.lv.length - 1), (ml) => height - 16 - (ml / most) * (height - 30)];
    context.fillStyle = "#9aa4ad";
    context.font = "11px sans-serif";
    context.fillText(`${most.toFixed(0)} ml`, 8, 11);
    context.textAlign = "center";
    for (const [name, frame] of [["ED", ed], ["ES", es]]) {
      if (frame === null) continue;
      context.fillRect(x(frame), 14, 1, height - 30);
      context.fillText(name, x(frame), height - 4);
    }
    context.fillStyle = "#fff";
    context.fillRect(x(t) - 0.5, 14, 2, height - 30);
    for (const [part, code, dash] of [["lv", 1, []], ["rv", 6, [5, 3]]]) {
      context.beginPath();
      curves[part].forEach((ml, k) => context.lineTo(x(k), y(ml)));
      context.setLineDash(dash);
      context.strokeStyle = colours[code];
      context.lineWidth = 2;
      context.stroke();
    }
  }
}
