"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const STEP = 100, FLAGS = 4;
const columns = [
  { title: "Study", of: (one) => one.study },
  { title: "Class", of: (one) => one.group },
  { title: "Sex", of: (one) => one.sex },
  ...data.names.map(([title, unit], i) => ({ title, unit, number: true, of: (one) => one.values[i] })),
  { title: "Proposed", of: (one) => one.diagnosis },
  { title: "To look at", of: (one) => one.doubt, down: true },
].filter((column) => !["Class", "Sex", "Proposed"].includes(column.title) || data.studies.some(column.of));
for (const one of data.studies) one.words = [one.study, one.reason, one.group, one.diagnosis, ...one.flags].join(" ").toLowerCase();
let sorted, up, found = [], drawn = 0;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function compare(a, b) {
  const x = sorted.of(a), y = sorted.of(b);
  if (x === null || y === null || x === "" || y === "") { // what has no value comes last, either way
    const empty = (value) => Number(value === null || value === "");
    if (empty(x) || empty(y)) return empty(x) - empty(y) || a.place - b.place;
  }
  const order = typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true });
  return (up ? order : -order) || a.place - b.place;
}

function line(one) {
  const row = element("tr");
  const first = row.appendChild(element("td"));
  if (one.picture) {
    const picture = first.appendChild(element("img"));
    picture.src = "data:image/webp;base64," + one.picture;
    picture.alt = "slices with contours: ED, ES, LGE as far as they are there";
  }
  for (const column of columns.slice(0, -1)) {
    const value = column.of(one);
    const kind = column.number ? "number" : column.title === "Study" ? "study" : "";
    const cell = row.appendChild(element("td", value === null || column.title === "Study" ? "" : column.number ? value.toFixed(1) : value, kind));
    if (cell.textContent) cell.dataset.name = column.title + (column.unit ? ` ${column.unit}` : "") + (column.number ? "" : " ");
    if (column.title === "Study") {
      const link = cell.appendChild(element(one.status === "done" ? "a" : "span", value));
      if (one.status === "done") link.href = `studies/${encodeURIComponent(one.study)}/report.html`;
    }
  }
  const says = row.appendChild(element("td", undefined, "says"));
  if (one.reason) says.appendChild(element("p", one.status === "done" ? one.reason : `${one.status}: ${one.reason}`, "bad"));
  for (const flag of one.flags.slice(0, FLAGS)) says.appendChild(element("p", flag.replace(/^warning: /, ""), flag.startsWith("error") ? "bad" : ""));
  if (one.flags.length > FLAGS) says.appendChild(element("p", `and ${one.flags.length - FLAGS} more in its report`));
  return row;
}

function more() {
  for (const one of found.slice(drawn, drawn + STEP)) at("rows").appendChild(line(one));
  drawn = Math.min(drawn + STEP, found.length);
  at("more").hidden = drawn === found.length;
}

function draw() {
  const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const show = at("show").value, group = at("group") ? at("group").value : "";
  found = data.studies.filter((one) =>
    (show === "" || (show === "doubt" ? one.doubt > 0 : one.status === show)) &&
    (group === "" || one.group === group) && words.every((word) => one.words.includes(word)));
  found.sort(compare);
  at("count").textContent = `${found.length} of ${data.studies.length}`;
  at("rows").replaceChildren();
  drawn = 0;
  more();
}

function sortBy(column, upward) {
  up = upward;
  sorted = column;
  for (const [i, cell] of [...at("head").querySelectorAll("th")].entries()) {
    if (columns[i] === column) cell.setAttribute("aria-sort", up ? "ascending" : "descending");
    else cell.removeAttribute("aria-sort");
  }
  at("order").value = String(columns.indexOf(column));
  draw();
}

data.studies.forEach((one, place) => { one.place = place; });
at("head").appendChild(element("td")); // above the pictures
for (const [i, column] of columns.entries()) {
  const button = at("head").appendChild(element("th")).appendChild(element("button", column.title));
  button.type = "button";
  if (column.unit) button.appendChild(element("small", column.unit));
  button.addEventListener("click", () => sortBy(column, column === sorted ? !up : !column.down));
  const option = at("order").appendChild(element("option", column.title));
  option.value = String(i);
}
at("order").addEventListener("change", () => {
  const column = columns[Number(at("order").value)];
  sortBy(column, !column.down);
});
for (const id of ["find", "show", "group"]) at(id)?.addEventListener("input", draw);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
at("more").addEventListener("click", more);
sortBy(columns[columns.length - 1], false); // the doubtful first
