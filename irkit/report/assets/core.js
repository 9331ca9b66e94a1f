// The page's data, and the few things of which the views are made. Data reaches the page as text nodes and attributes alone, never as
// markup, so that nothing in an id, a query or a document can become part of the page.

// -- elements ---------------------------------------------------------------------------------------------------------------

// As irkit.core.text.inert: a control character shows as U+FFFD.
const inert = (child) => (typeof child === "string" ? child.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g, "\ufffd") : child);
const made = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map(inert));
  return node;
};
const h = (tag, attributes, ...children) => made(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => made(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// A name from the data, in its own direction of writing.
const name = (text) => h("bdi", { class: "name" }, text);
// A dash, and why there is nothing.
const dash = (reason) => h("span", { class: "none", title: reason }, "–", h("span", { class: "sr" }, ` (${reason})`));

// -- numbers, as irkit.report.format writes them ----------------------------------------------------------------------------

const MINUS = "−";
const three = (value) => {
  if (!value) return "0";
  const digits = (x) => 2 - Math.floor(Math.log10(Math.abs(x)));
  const rounded = Number(value.toPrecision(3));
  const places = Math.max(0, Math.min(6, digits(rounded)));
  return rounded.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
};
const show = {
  metric: (value) => value.toFixed(4).replace("-", MINUS),
  delta: (value, places = 4) => {
    const text = Math.abs(value).toFixed(places);
    return Number(text) === 0 ? text : (value > 0 ? "+" : MINUS) + text;
  },
  p: (value) => (value < 0.00005 ? "<0.0001" : value.toFixed(4)),
  count: (value) => value.toLocaleString("en"),
  plural: (value, noun) => `${value.toLocaleString("en")} ${value === 1 ? noun : noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`}`,
  share: (part, whole) => (whole ? `${(100 * part / whole).toFixed(1)} %` : "–"),
  duration: (seconds) => {
    if (seconds >= 59.95) {
      const whole = Math.round(seconds);
      if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
      return `${Math.floor(whole / 3600)} h ${String(Math.round(whole / 60) % 60).padStart(2, "0")} min`;
    }
    if (seconds >= 0.9995) return `${three(seconds)} s`;
    if (seconds >= 0.0009995) return `${three(seconds * 1000)} ms`;
    return seconds > 0 ? `${three(seconds * 1e6)} µs` : "0 s";
  },
  size: (bytes) => {
    let value = bytes;
    const units = ["B", "kB", "MB", "GB", "TB"];
    while (value >= 999.5 && units.length > 1) { value /= 1000; units.shift(); }
    return units[0] === "B" ? `${bytes} B` : `${three(value)} ${units[0]}`;
  },
};

// -- data -------------------------------------------------------------------------------------------------------------------

const inflated = async (id) => {
  const text = document.getElementById(id)?.textContent;
  if (!text) return null;
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
};
const once = (make) => {
  const kept = new Map();
  return (key) => {
    if (!kept.has(key)) kept.set(key, make(key));
    return kept.get(key);
  };
};
// What irkit.report.page writes: `main` at once, the rest of a collection (by its number) when somebody looks at it.
const page = {
  main: null,
  // {qid: [...], metrics: {metric: {values: [...], rows: [per pipeline: [number in values per query] | null]}}}
  values: once((collection) => inflated(`data-values-${collection}`)),
  // {documents, queries, changed, explained}, or null
  details: once((collection) => inflated(`data-details-${collection}`)),
};
// The values of one metric for every query: Float64Array, or null where the pipeline has none.
const perQuery = async (collection, metric, pipeline) => {
  const found = (await page.values(collection))?.metrics[metric];
  const row = found?.rows[pipeline];
  return row ? Float64Array.from(row, (number) => found.values[number]) : null;
};

// -- what is chosen: shared by the views, and kept in the address, so that a view can be linked ----------------------------

// A choice is answered by the view in which it was made, at once; the others follow one by one, so that the browser can paint and answer
// in between. Until they have, html[data-busy] stands.
const waiting = new Set();
// Views are drawn each for itself: one that fails says so in the console, and the others stay.
const attempt = async (run) => {
  try {
    await run?.();
  } catch (error) {
    console.error(error);
  }
};
let drawing = null;  // the view that is drawn for the first time
const follow = async () => {
  document.documentElement.dataset.busy = "";
  // The answer is painted first; a page in the background has no frames.
  await new Promise((done) => { requestAnimationFrame(() => setTimeout(done)); setTimeout(done, 100); });
  while (waiting.size) {
    await new Promise((done) => setTimeout(done));
    const [listener] = waiting;
    waiting.delete(listener);
    await attempt(listener?.run);
  }
  delete document.documentElement.dataset.busy;
};
const state = {
  chosen: new URLSearchParams(location.hash.includes("?") ? location.hash.slice(location.hash.indexOf("?") + 1) : ""),
  listeners: [],
  get: (key) => state.chosen.get(key),
  // Choices that are none of the options (an address of another report) count as the first.
  pick: (key, options, otherwise = options[0]) => (options.includes(state.get(key)) ? state.get(key) : otherwise),
  set: (changes, section = location.hash.slice(1).split("?")[0]) => {
    for (const [key, value] of Object.entries(changes)) value === null ? state.chosen.delete(key) : state.chosen.set(key, value);
    const text = state.chosen.toString();
    history.replaceState(null, "", `#${section}${text ? `?${text}` : ""}`);
    const concerned = state.listeners.filter(({ keys }) => keys.some((key) => key in changes));
    const isFirst = ({ root }) => !root || root.contains(document.activeElement);
    const following = waiting.size > 0 || "busy" in document.documentElement.dataset;
    concerned.filter((each) => !isFirst(each)).forEach((each) => waiting.add(each));
    for (const each of concerned.filter(isFirst)) { waiting.delete(each); attempt(each.run); }
    if (waiting.size && !following) follow();
  },
  // Calls `run` when one of the keys has changed.
  on: (keys, run) => state.listeners.push({ keys, run, root: drawing }),
};

// A labelled list to choose from. `options` are texts, or [value, text] pairs; names from the data are safe in both.
const choice = (label, key, options, otherwise) => {
  const pairs = options.map((each) => (Array.isArray(each) ? each : [each, each]));
  const now = state.pick(key, pairs.map(([value]) => value), otherwise);
  const select = h("select", { "data-key": key, change: () => state.set({ [key]: select.value }) },
    pairs.map(([value, text]) => h("option", { value, selected: value === now }, text)));
  state.on([key], () => { const value = state.pick(key, pairs.map(([each]) => each), otherwise); if (select.value !== value) select.value = value; });
  return h("label", { class: "choice" }, h("span", {}, label), select);
};

// A box in which a wide table scrolls by itself. `heads` are {text, sort: "text" | "number", num: bool} or texts; `rows` are lists of
// cells: a node, a text, or {value, node, num, head: true}.
let tables = 0;
const grid = ({ caption, heads, rows, kind = "" }) => {
  const id = `grid-${++tables}`;
  const head = heads.map((each) => (typeof each === "string" ? { text: each } : each));
  const cell = (each, column) => {
    const plain = each instanceof Node || typeof each !== "object" || each === null;
    const { node, value, head: isHead, num = head[column]?.num, span } = plain ? { node: each } : each;
    return h(isHead ? "th" : "td", { scope: isHead && "row", class: num && "num", "data-value": value, colspan: span }, node);
  };
  const table = h("table", { class: kind },
    h("caption", { id }, caption),
    h("thead", {}, h("tr", {}, head.map((each) => h("th", { scope: "col", class: each.num && "num", "data-sort": each.sort, title: each.title }, each.text)))),
    h("tbody", {}, rows.map((row) => h("tr", { class: row.kind }, (row.cells ?? row).map(cell)))));
  if (head.some((each) => each.sort)) sortable(table);
  return h("div", { class: "scroll", role: "region", tabindex: "0", "aria-labelledby": id }, table);
};

// -- views ------------------------------------------------------------------------------------------------------------------

// `render(root)` fills the element of this id, which stands in report.html. A view that fails says so in its place, and the others stay.
const views = [];
const view = (id, render) => views.push({ id, render });
const notice = (...children) => h("p", { class: "notice off" }, ...children);
// Without its data no view can be drawn; the leaderboard's own table, which stands in the page, stays.
const unread = () => {
  const why = typeof DecompressionStream === "undefined"
    ? "This browser is too old to unpack the data of this page: one of 2023 or later can."
    : "The data of this page cannot be read.";
  say(why);
  for (const { id } of views) {
    document.getElementById(id)?.prepend(notice(why, " The figures stand in ", h("code", {}, "scores.md"), " and ", h("code", {}, "scores.csv"), " beside this file."));
  }
};
const start = async () => {
  try {
    page.main = await inflated("data-main");
  } catch (error) {
    unread();
    throw error;
  }
  for (const { id, render } of views) {
    const root = document.getElementById(id);
    if (!root) continue;
    try {
      drawing = root;
      await render(root);
    } catch (error) {
      root.replaceChildren(notice("This view failed: ", String(error)));
      console.error(error);
    }
    await new Promise((done) => setTimeout(done));  // the browser paints, and answers clicks
  }
  drawing = null;
  document.documentElement.dataset.ready = "";
  const section = location.hash.slice(1).split("?")[0];
  if (section) document.getElementById(section)?.scrollIntoView();
};
addEventListener("DOMContentLoaded", start);
// Another address of this page, typed or linked: its choices take the place of those there were. The contents' links have none, and
// change nothing.
addEventListener("hashchange", () => {
  const at = location.hash.indexOf("?");
  if (at < 0) return;
  state.chosen = new URLSearchParams(location.hash.slice(at + 1));
  for (const { run } of state.listeners) attempt(run);
  document.getElementById(location.hash.slice(1, at))?.scrollIntoView();
});
