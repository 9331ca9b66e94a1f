// What the charts share: scales with round steps, marks that arrow keys walk, and focus that outlives a new drawing.

const chart = {
  // Round values from at most `low` to at least `high`: the axis goes from the first to the last.
  ticks: (low, high, most = 6) => {
    if (high - low < 1e-9) return chart.ticks(low - (Math.abs(low) || 1) / 10, high, most);
    const span = high - low;
    const power = 10 ** Math.floor(Math.log10(span / most));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => span / each <= most);
    const first = Math.floor(low / step + 1e-9);
    const last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
    return Array.from({ length: last - first + 1 }, (_, number) => Number(((first + number) * step).toPrecision(12)));
  },
  // Writes the ticks of an axis with the decimals that their step needs.
  fixed: (ticks) => {
    const places = Math.max(0, -Math.floor(Math.log10(ticks[1] - ticks[0]) + 1e-9));
    return (tick) => tick.toFixed(places).replace("-", MINUS);
  },
  // The same for a logarithmic axis: powers of ten, or 1, 2, 5 of each where the powers are few.
  logTicks: (low, high, most = 7) => {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const all = (steps, every = 1) => Array.from({ length: last - first + 1 }, (_, number) => first + number)
      .filter((power) => (power - first) % every === 0)
      .flatMap((power) => steps.map((step) => Number((step * 10 ** power).toPrecision(6))));
    // The axis ends with the round values just outside the data.
    const cut = (values) => {
      const from = Math.max(0, values.findLastIndex((value) => value <= low * 1.000001));
      const to = values.findIndex((value) => value >= high * 0.999999);
      return values.slice(from, to < 0 ? values.length : Math.max(to, from + 1) + 1);
    };
    const finer = [all([1, 2, 5]), all([1, 3]), all([1])].map(cut).find((values) => values.length >= 2 && values.length <= most);
    return finer ?? cut(all([1], Math.ceil((last - first) / (most - 1))));
  },
  // Redraws when the width of `box` changes: text keeps its size at every width, as it would not in a picture that is scaled.
  sized: (box, draw) => {
    let width = 0;
    new ResizeObserver(() => {
      if (box.clientWidth && Math.abs(box.clientWidth - width) > 1) draw(width = box.clientWidth);
    }).observe(box);
    // To ask for the width again would lay out the whole page in the middle of a change.
    return () => draw(width ||= box.clientWidth || 640);
  },
  // Draws into `box` and gives the focus back to what stood in the place of the focused element (the same data-at).
  keepingFocus: (box, draw) => {
    const at = box.contains(document.activeElement) ? document.activeElement.dataset.at : undefined;
    draw();
    if (at !== undefined) [...box.querySelectorAll("[data-at]")].find((node) => node.dataset.at === at)?.focus({ preventScroll: true });
  },
  // One stop of the Tab key for all of `nodes`; `next(node, way)` says where an arrow key leads, `press(node)` does what Enter does.
  roving: (box, nodes, next, first = nodes[0], press = null) => {
    for (const node of nodes) node.setAttribute("tabindex", node === first ? "0" : "-1");
    const own = new Set(nodes);
    box.addEventListener("focusin", ({ target }) => {
      if (!own.has(target)) return;
      for (const node of own) if (node.getAttribute("tabindex") === "0") node.setAttribute("tabindex", "-1");
      target.setAttribute("tabindex", "0");
    });
    box.addEventListener("keydown", (event) => {
      if (!own.has(event.target) || event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key.startsWith("Arrow")) next(event.target, event.key.slice(5).toLowerCase())?.focus();
      else if (press && (event.key === "Enter" || event.key === " ")) press(event.target);
      else return;
      event.preventDefault();
    });
  },
  // A shape around (x, y): colour is never the only thing that tells marks apart.
  shape: (kind, x, y, r, attributes) => {
    const at = (points) => svg("path", {
      ...attributes, d: `M${points.map(([dx, dy]) => `${(x + dx * r).toFixed(1)} ${(y + dy * r).toFixed(1)}`).join("L")}Z`,
    });
    if (kind === "diamond") return at([[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]]);
    if (kind === "triangle") return at([[0, -1.15], [1.1, 0.8], [-1.1, 0.8]]);
    if (kind === "square") return at([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]);
    if (kind === "cross") {
      const quarter = [[-1, -0.6], [-0.6, -1], [0, -0.4]];
      return at([0, 1, 2, 3].flatMap((turns) => quarter.map((point) => Array(turns).fill().reduce(([dx, dy]) => [-dy, dx], point))));
    }
    if (kind === "tick") return at([[-0.18, -1], [0.18, -1], [0.18, 1], [-0.18, 1]]);
    return svg("circle", { ...attributes, cx: x.toFixed(1), cy: y.toFixed(1), r });
  },
  // Writes what a mark is beside it while it is pointed at or focused. `marks`: node -> {x, y, text}.
  callout: (picture, marks, label, width) => {
    const on = ({ target }) => {
      const mark = marks.get(target.closest?.(".mark"));
      if (!mark) return;
      const end = mark.x > width / 2;
      label.setAttribute("x", mark.x + (end ? -12 : 12));
      label.setAttribute("y", mark.y - 9);
      label.setAttribute("text-anchor", end ? "end" : "start");
      label.textContent = chart.short(mark.text, Math.floor((end ? mark.x : width - mark.x) / 6.5));
    };
    const off = () => {
      label.textContent = "";
      if (marks.has(document.activeElement)) on({ target: document.activeElement });
    };
    for (const event of ["focusin", "mouseover"]) picture.addEventListener(event, on);
    for (const event of ["focusout", "mouseout"]) picture.addEventListener(event, off);
  },
  short: (text, most) => (text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text),
  // "a, b and c", of nodes.
  listed: (nodes) => nodes.flatMap((node, number) => [number === 0 ? "" : number === nodes.length - 1 ? " and " : ", ", node]),
};
