"use strict";
// The table is there without this script. What it adds: filters, a walk by keyboard, and what a click opens.
// Every text is set as text: nothing that a backend says becomes markup.

const byId = (id) => document.getElementById(id);
const table = byId("_table"), panel = byId("_panel");
let parsed = null;

/** The data of the page, read when they are first needed: a large page is there before. */
function data() {
  if (parsed) return parsed;
  parsed = JSON.parse(byId("_data").textContent);
  parsed.place = new Map(parsed.clauses.map((clause, number) => [clause[0], number]));
  parsed.rowsOf = parsed.clauses.map(() => []);
  parsed.rows.forEach((row, number) => parsed.rowsOf[row[0]].push(number));
  return parsed;
}

/** An element with attributes and children; a child that is nothing is left out. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const tokens = (list) => list.map(([kind, text, address]) => {
  if (kind === "c") return make("code", {}, text);
  if (kind === "b") return make("strong", {}, text);
  if (kind === "i") return make("em", {}, text);
  if (kind === "a" && address.startsWith("#")) return place(address) ? make("a", { href: address }, text) : make("em", {}, text);
  if (kind === "a") return make("a", { href: address, rel: "noopener noreferrer" }, text);
  return text;
});

const blocks = (list) => list.map(([kind, content]) => {
  if (kind === "pre") return make("pre", { tabindex: 0 }, content);
  return make("p", {}, kind === "li" ? "• " : null, tokens(content));
});

/** A mark of a state with its word. */
const mark = (letter, word = data().letters[letter]) => make("span", { class: letter }, word);
const hash = (...parts) => "#" + parts.map(encodeURIComponent).join("/");
const count = (number) => number.toLocaleString("en");

// ---- what a click opens --------------------------------------------------------------------------------------------

/** Where a fragment points to: a clause, and perhaps a backend and a dtype; null if to neither. */
function place(fragment) {
  let parts;
  try { parts = fragment.slice(1).split("/").map(decodeURIComponent); } catch { return null; }
  const all = data(), clause = all.place.get(parts[0]);
  if (clause === undefined) return null;
  if (parts.length === 1) return { clause, backend: null, row: null };
  const backend = all.backends.findIndex((one) => one.name === parts[1]);
  if (backend < 0) return null;
  const asked = all.rowsOf[clause].find((row) => all.dtypes[all.rows[row][1]] === parts[2]);
  return { clause, backend, row: asked === undefined ? worst(clause, backend) : asked };
}

/** The row of a clause in which a backend is worst. */
function worst(clause, backend) {
  const all = data(), order = "pnudfc";
  return all.rowsOf[clause].reduce((one, other) =>
    order.indexOf(all.rows[other][2][backend]) > order.indexOf(all.rows[one][2][backend]) ? other : one);
}

function head(clause) {
  const [slug, level, profile, , , address] = data().clauses[clause];
  const close = make("button", { type: "button", "aria-label": "Close" }, "✕");
  close.addEventListener("click", shut);
  return make("header", {},
    make("div", {}, make("h2", { id: "_title", tabindex: -1 }, slug),
      make("div", { class: "meta" }, make("span", {}, level), make("span", {}, `profile ${profile}`),
        address ? make("a", { href: address, rel: "noopener noreferrer" }, "in the specification") : null)), close);
}

function words(clause, open) {
  const [, , , statement, parts] = data().clauses[clause];
  return [
    make("blockquote", {}, make("p", {}, tokens(statement))),
    make("details", { open: open ? "" : null }, make("summary", {}, "The whole clause"),
      parts.map(([title, list]) => [make("h3", {}, title), blocks(list)])),
  ];
}

/** A clause by itself: its words, and every backend's verdict in every dtype. */
function ofClause({ clause }) {
  const all = data(), rows = all.rowsOf[clause], slug = all.clauses[clause][0];
  const line = (backend, number) => make("tr", {}, make("th", { scope: "row" }, backend.name), rows.map((row) => {
    const letter = all.rows[row][2][number], dtype = all.dtypes[all.rows[row][1]];
    return make("td", {}, make("a", { href: hash(slug, backend.name, dtype) }, mark(letter)));
  }));
  const heads = rows.map((row) => make("th", { scope: "col" }, type(all.dtypes[all.rows[row][1]])));
  return [head(clause), words(clause, true), make("h3", {}, "Verdicts"),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Verdicts" },
      make("table", { class: "plain" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "backend"), heads)),
        make("tbody", {}, all.backends.map(line))))];
}

const type = (dtype) => (dtype === "all" ? "all types" : dtype);

/** One cell: what was found in one dtype. */
function ofCell({ clause, backend, row }) {
  const all = data(), slug = all.clauses[clause][0], { name, version } = all.backends[backend];
  const [, dtype, letters, cases, outputs, milliseconds] = all.rows[row];
  const more = all.cells[`${row},${backend}`] || {};
  const types = all.rowsOf[clause].map((other) => {
    const named = all.dtypes[all.rows[other][1]];
    const here = other === row ? "page" : null;
    return make("a", { href: hash(slug, name, named), "aria-current": here }, mark(all.rows[other][2][backend], type(named)),
      make("span", { class: "hide" }, ` ${all.letters[all.rows[other][2][backend]]}`));
  });
  const figures = [
    ["cases", count(cases[backend])], ["refused", more.refused && count(more.refused)],
    ["not asked again", more.skipped && count(more.skipped)], ["could tell nothing", more.vacuous && count(more.vacuous)],
    ["outputs that agreed", count(outputs[backend])], ["time", `${(milliseconds[backend] / 1000).toFixed(2)} s`],
    ["effective bits", more.bits && more.bits.join(", ")], ["reading", more.reading],
  ];
  const [first, ...others] = (more.findings || []).map(finding);
  return [
    head(clause),
    make("div", { class: "meta" }, mark(letters[backend]), make("span", {}, type(all.dtypes[dtype])),
      make("code", {}, name), make("span", {}, version), make("a", { href: hash(slug) }, "all backends")),
    make("nav", { class: "types", "aria-label": "Types" }, types),
    words(clause, false),
    more.since ? make("p", {}, `Since ${more.since[0]}; before it was ${more.since[1]}.`) : null,
    more.reason ? make("p", {}, more.reason) : null,
    first, others.length ? make("details", {}, make("summary", {}, `${others.length} more found`), others) : null,
    make("h3", {}, "Figures"), told(figures), histogram(more.errors),
  ];
}

const told = (pairs) => make("dl", { class: "told" }, pairs.filter(([, value]) => value)
  .map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));

function finding([number, script, why]) {
  const all = data(), one = all.findings[number], code = (text) => text && make("code", {}, text);
  const entry = one.deviation === undefined ? null : all.deviations[one.deviation];
  return make("section", { class: "finding", "aria-label": `Finding: ${one.kind}` },
    make("h3", {}, one.message || `What was found: ${one.kind}`),
    one.drawing === undefined ? null : picture(all.drawings[one.drawing]),
    told([["call", code(one.call)], ["expected", code(one.expected)], ["got", code(one.got)], ["error", one.error],
      ["looks like", one.diagnosis], ["taps", one.taps], ["known as", entry && known(entry)]]),
    one.stderr ? make("details", {}, make("summary", {}, "What its process wrote"), make("pre", { tabindex: 0 }, one.stderr)) : null,
    reproducer(script === null ? null : all.scripts[script], why));
}

const known = (entry) => [
  make("span", {}, `${entry.id} (${[entry.kind, entry.state].filter(Boolean).join(", ")}): ${entry.reason} `),
  entry.url ? make("a", { href: entry.url, rel: "noopener noreferrer" }, entry.url) : null];

/** A drawing is made by convspec of numbers alone; it is parsed as XML, and a script in it would not run. */
function picture([svg, caption]) {
  const drawn = document.importNode(new DOMParser().parseFromString(svg, "image/svg+xml").documentElement, true);
  const said = { pixel: "pixel", pad: "padding", window: "window", tap: "tap", cross: "wrong", ring: "read instead", twice: "counted twice" };
  const key = Object.keys(said).filter((kind) => drawn.querySelector(`.${kind}`));
  return make("figure", { tabindex: 0 }, drawn, make("ul", { class: "key", "aria-hidden": "true" },
    key.map((kind) => make("li", {}, swatch(kind), said[kind]))), make("figcaption", {}, caption));
}

function swatch(kind) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const shapes = { pixel: "M2 2h14v14h-14z", pad: "M2 2h14v14h-14z", window: "M2 2h14v14h-14z", tap: "M5 5h8v8h-8z",
    cross: "M4 4l10 10m0 -10l-10 10", ring: "M3 9a6 6 0 1 0 12 0a6 6 0 1 0 -12 0", digit: "M5.5 6a3.5 3 0 1 1 6 2.5l-6 6.5h7.5" };
  for (const [name, value] of [["width", 18], ["height", 18]]) svg.setAttribute(name, value);
  for (const [style, path] of [kind === "twice" ? ["ring", shapes.digit] : [kind, shapes[kind]], ...(kind === "pad" ? [["hatch", "M2 16l14 -14m-14 7l7 -7"]] : [])]) {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
    shape.setAttribute("class", style);
    shape.setAttribute("d", path);
    svg.append(shape);
  }
  return svg;
}

function reproducer(script, why) {
  if (script === null) return why ? make("p", { class: "quiet" }, `No script: ${why}.`) : null;
  const button = make("button", { type: "button", class: "copier" }, "Copy the script"), status = make("span", { role: "status" });
  button.addEventListener("click", async () => { status.textContent = (await copy(script)) ? "Copied." : "It could not be copied."; });
  return make("details", { class: "script" }, make("summary", {}, "Reproducer: a script that shows it without convspec"),
    make("div", { class: "copy" }, button, status), make("pre", { tabindex: 0 }, script));
}

/** Copy a text; where there is no clipboard, as a page from disk may have none, through a field that is selected. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = make("textarea", { class: "offscreen", "aria-hidden": "true", tabindex: -1 });
    const before = document.activeElement;
    field.value = text;
    panel.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    before.focus();
    return done;
  }
}

/** How many elements lie how far within the bound; heights are logarithms, for most are exact. */
function histogram(errors) {
  if (!errors) return null;
  const most = Math.log10(1 + Math.max(...errors)), least = 2 - errors.length;
  const names = errors.map((_, bin) => bin === 0 ? "0" : bin === errors.length - 1 ? "> 1" : bin === errors.length - 2 ? "1" : `2${raised(bin + least)}`);
  const said = errors.map((number, bin) => `${count(number)} ${bin === 0 ? "exact" : bin === errors.length - 1 ? "above the bound" : `up to ${names[bin]}`}`);
  return make("figure", {}, make("h3", {}, "Errors against the bound"),
    make("div", { class: "bins", role: "img", "aria-label": said.filter((_, bin) => errors[bin]).join(", ") }, errors.map((number, bin) => {
      const bar = make("i", {});
      bar.style.height = `${number ? 2 + 4.5 * 16 * Math.log10(1 + number) / most : 0}px`;
      return make("span", { class: bin === errors.length - 1 ? "over" : null, title: said[bin] }, number ? short(number) : "", bar, names[bin]);
    })), make("figcaption", {}, "Compared elements by |got − right| / bound: each class reaches up to its figure. The heights are logarithmic."));
}

const raised = (power) => String(power).replace(/./g, (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]);
const short = (number) => number < 1e4 ? String(number) : number < 1e6 ? `${Math.round(number / 1e3)}k` : `${(number / 1e6).toFixed(1)}M`;

let origin = null, pushed = false;

/** Open what the address names, or close what is open. */
function sync() {
  const at = location.hash.length > 1 && !location.hash.startsWith("#_") ? place(location.hash) : null;
  if (!at) {
    if (panel.open) panel.close();
    return;
  }
  panel.replaceChildren(...(at.backend === null ? ofClause(at) : ofCell(at)).flat(3).filter(Boolean));
  panel.scrollTop = 0;
  const row = byId(data().clauses[at.clause][0]);
  if (!panel.open) {
    const cell = row.cells[at.backend === null ? 0 : at.backend + 1];
    origin = origin || cell;
    if (row.hidden || !cell.offsetParent) reset();
    row.scrollIntoView({ block: "center", behavior: "instant" });
    panel.showModal();
  }
  byId("_title").focus();
}

/** Close what is open; the address is as it was before. */
function shut() {
  const back = pushed;
  pushed = false;
  panel.close();
  if (back) history.back();
  else history.replaceState(null, "", location.pathname + location.search);
}

function open(cell) {
  const row = cell.parentElement, all = data(), clause = all.place.get(row.id);
  if (clause === undefined) return;
  const backend = cell.cellIndex - 1;
  origin = cell;
  pushed = true;
  history.pushState(null, "", backend < 0 ? hash(row.id) : hash(row.id, all.backends[backend].name, all.dtypes[all.rows[worst(clause, backend)][1]]));
  sync();  // now, not when the browser comes to tell of a new address
}

panel.addEventListener("cancel", (event) => { event.preventDefault(); shut(); });
panel.addEventListener("click", (event) => {
  if (event.target === panel && event.clientX < panel.getBoundingClientRect().left) shut();  // on what lies behind it
  const link = event.target.closest("a[href^='#']");
  if (link) {  // from one cell to another: Esc and Back close what is open, and do not walk through it
    event.preventDefault();
    history.replaceState(null, "", link.getAttribute("href"));
    sync();
  }
});
panel.addEventListener("close", () => {
  const cell = origin && origin.isConnected ? origin : null;
  origin = null;
  if (cell) hold(cell, true);
});
addEventListener("hashchange", sync);

// ---- filters -------------------------------------------------------------------------------------------------------

const filters = byId("_filters"), hiddenBackends = new Set();

function filter() {
  const all = data(), wanted = byId("_text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const states = [...document.querySelectorAll("#_states [aria-pressed=true]")].map((button) => button.dataset.letter);
  const shown = all.backends.map((_, number) => number).filter((number) => !hiddenBackends.has(number));
  let left = 0, group = null;
  for (const row of table.querySelectorAll("tbody tr")) {
    if (row.classList.contains("group")) {
      group = row;
      group.hidden = true;
      continue;
    }
    const clause = all.place.get(row.id);
    const fits = wanted.every((word) => haystack(clause).includes(word)) && (!states.length ||
      all.rowsOf[clause].some((number) => shown.some((backend) => states.includes(all.rows[number][2][backend]))));
    row.hidden = !fits;
    left += fits;
    if (fits) group.hidden = false;
  }
  byId("_shown").textContent = left === all.clauses.length ? `${left} clauses` : `${left} of ${all.clauses.length} clauses`;
  byId("_nothing").hidden = left > 0;
  visible = null;
  if (current && !reachable(current)) hold(table.querySelector("tbody tr[id]:not([hidden]) > th"), false);
}

const texts = [];
function haystack(clause) {
  const [slug, level, profile, statement] = data().clauses[clause];
  texts[clause] = texts[clause] || [slug, level, profile, ...statement.map((token) => token[1])].join(" ").toLowerCase();
  return texts[clause];
}

function columns() {
  hiddenBackends.clear();
  for (const box of document.querySelectorAll("#_backend_boxes input")) if (!box.checked) hiddenBackends.add(Number(box.value));
  byId("_columns").textContent = [...hiddenBackends].map((number) => `#_table tr > :nth-child(${number + 2})`).join(",") + "{display:none}";
  byId("_box").style.setProperty("--n", data().backends.length - hiddenBackends.size);
  filter();
}

function reset() {
  byId("_text").value = "";
  for (const button of document.querySelectorAll("#_states button")) button.setAttribute("aria-pressed", "false");
  for (const box of document.querySelectorAll("#_backend_boxes input")) box.checked = true;
  columns();
}

filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", (event) => { event.preventDefault(); reset(); });
filters.addEventListener("change", columns);
byId("_text").addEventListener("input", filter);
byId("_again").addEventListener("click", () => { reset(); byId("_text").focus(); });
const none = byId("_none");  // of many backends a few are compared: it is less work to tick those
if (none) none.addEventListener("click", () => {
  for (const box of document.querySelectorAll("#_backend_boxes input")) box.checked = false;
  columns();
});
byId("_states").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
  filter();
});

// ---- the walk from cell to cell ------------------------------------------------------------------------------------

let current = null, visible = null;

const reachable = (cell) => !cell.parentElement.hidden && !hiddenBackends.has(cell.cellIndex - 1);
const lines = () => (visible = visible || [...table.querySelectorAll("tbody tr")].filter((row) => !row.hidden));

/** Make a cell the one that Tab comes to, and perhaps go there. */
function hold(cell, focus) {
  if (!cell) return;
  if (current) current.tabIndex = -1;
  current = cell;
  cell.tabIndex = 0;
  if (focus) cell.focus();
}

const STEPS = {
  ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1], PageDown: [10, 0], PageUp: [-10, 0],
  Home: [0, -Infinity], End: [0, Infinity],
};

table.addEventListener("keydown", (event) => {
  const cell = event.target.closest("tbody th, tbody td");
  if (!cell || event.altKey || event.metaKey) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    open(cell);
  }
  const step = STEPS[event.key];
  if (!step) return;
  event.preventDefault();
  const rows = lines(), [down, along] = step, ends = event.ctrlKey && !down;
  const places = [0, ...data().backends.map((_, number) => number + 1).filter((number) => !hiddenBackends.has(number - 1))];
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  const at = ends ? (along < 0 ? 0 : rows.length - 1) : clamp(rows.indexOf(cell.parentElement) + down, rows.length - 1);
  hold(rows[at].cells[places[clamp(places.indexOf(cell.cellIndex) + along, places.length - 1)]], true);
});
table.addEventListener("click", (event) => {
  const cell = event.target.closest("tbody tr[id] > *");
  if (cell) open(cell);
});

table.setAttribute("role", "grid");
document.documentElement.classList.add("can-open");
byId("_plain").remove();
for (const element of document.querySelectorAll(".js")) element.hidden = false;
byId("_shown").textContent = `${table.querySelectorAll("tbody tr[id]").length} clauses`;
hold(table.querySelector("tbody tr[id] > th"), false);
if (location.hash.length > 1) sync();
