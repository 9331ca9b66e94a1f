// The scores as dots: a row per mean and collection, a mark per pipeline.

{
  const FEW = 6;  // up to so many pipelines have shapes of their own; of more, all but the important ones are ticks
  const SHAPES = ["circle", "triangle", "square", "tick", "cross", "circle"];
  const LONGEST = 34;  // characters of a name beside its row; on a narrow page names stand above their rows
  const LAYERS = ["other", "lead", "base", "chosen"];  // what matters is drawn last, above the rest
  const RADII = { other: 4.5, lead: 5, base: 5, chosen: 6 };

  const icon = (role, shape) => svg("svg", { width: 14, height: 14, viewBox: "0 0 14 14", "aria-hidden": "true", class: `mark ${role}` },
    chart.shape(shape, 7, 7, RADII[role] * 0.9));

  view("plots-view", (root) => {
    const { main } = page;
    if (!main.columns.length || !main.pipelines.length) {
      root.replaceChildren(h("p", { class: "empty" }, "The results hold no scores."));
      return;
    }
    const base = board.baseline();
    const names = main.pipelines.map((each) => each.name);
    const best = (column, metric) => board.ranks(column, metric).flatMap((rank, number) => (rank === 1 ? [number] : []));
    // What stands out: the chosen pipeline, else the best that is not the baseline.
    const leaders = best(board.first(), main.metrics[0]);
    const otherwise = names[leaders.find((each) => each !== base) ?? leaders[0] ?? 0];
    const chosen = () => names.indexOf(state.pick("pipeline", names, otherwise));
    const look = (pipeline, isBest) => {
      const role = pipeline === chosen() ? "chosen" : pipeline === base ? "base" : isBest ? "lead" : "other";
      if (role === "chosen" && pipeline === base) return { role, shape: "diamond" };
      const shape = { chosen: "circle", base: "diamond", lead: "square" }[role];
      return { role, shape: shape ?? (names.length <= FEW ? SHAPES[pipeline % SHAPES.length] : "tick") };
    };
    const light = (pipeline) => {
      state.set({ pipeline: names[pipeline] });
      say(`${names[pipeline]} stands out`);
    };

    const said = (column, metric, pipeline, ranks) => {
      const value = board.value(column, metric, pipeline);
      const of = base >= 0 && pipeline !== base ? board.value(column, metric, base) : null;
      return `${names[pipeline]} on ${column.name}: ${metric} ${show.metric(value)}`
        + (of === null ? "" : `, ${show.delta(value - of)} to the baseline`)
        + (ranks[pipeline] === null ? "" : `, rank ${ranks[pipeline]}`);
    };
    const box = h("div", { class: "chart" });
    const table = h("details", {});
    const draw = (width) => chart.keepingFocus(box, () => {
      const metric = board.metric();
      const rows = board.columns()
        .map((column) => ({
          column, ranks: board.ranks(column, metric), values: names.map((_, number) => board.value(column, metric, number)),
        }))
        .filter(({ values }) => values.some((value) => value !== null));
      legend(rows);
      table.replaceChildren(h("summary", {}, "As a table"), figures(metric, rows));
      if (!rows.length) {
        box.replaceChildren(h("p", { class: "empty" }, "No pipeline has a value of ", name(metric), "."));
        return;
      }
      const narrow = width < 620;
      const longest = Math.min(LONGEST, Math.max(...rows.map(({ column }) => column.name.length)));
      const [left, right] = [narrow ? 10 : 30 + 6.8 * longest, width - 14];
      const step = narrow ? 44 : 28;
      const height = 14 + rows.length * step + 44;
      const all = rows.flatMap(({ values }) => values.filter((value) => value !== null));
      const ticks = chart.ticks(Math.min(...all), Math.max(...all), narrow ? 4 : 8);
      const fixed = chart.fixed(ticks);
      const x = (value) => left + (right - left) * (value - ticks[0]) / (ticks.at(-1) - ticks[0]);
      const y = (row) => 14 + row * step + (narrow ? 30 : step / 2);
      const marks = new Map();
      const line = ({ column, ranks, values }, row) => svg("g", { class: column.mean && "mean" },
        svg("text", {
          class: "label", x: narrow ? left : left - 16, y: y(row) + (narrow ? -12 : 4), "text-anchor": narrow ? "start" : "end",
        }, chart.short(column.name, narrow ? Math.floor(width / 7) : LONGEST), svg("title", {}, column.name)),
        svg("line", { class: "row", x1: left, x2: right, y1: y(row), y2: y(row) }),
        values.map((value, pipeline) => ({ value, pipeline, ...look(pipeline, ranks[pipeline] === 1) }))
          .filter(({ value }) => value !== null)
          .sort((a, b) => LAYERS.indexOf(a.role) - LAYERS.indexOf(b.role))
          .map(({ value, pipeline, role, shape }) => {
            const node = svg("g", {
              class: `mark ${role}`, role: "img", "data-at": `${pipeline} ${column.key}`,
              "aria-label": said(column, metric, pipeline, ranks), click: () => light(pipeline),
            }, svg("circle", { class: "reach", cx: x(value), cy: y(row), r: 10 }), chart.shape(shape, x(value), y(row), RADII[role]));
            marks.set(node, { pipeline, row, x: x(value), y: y(row), text: `${names[pipeline]} ${show.metric(value)}` });
            return node;
          }));
      const callout = svg("text", { class: "callout" });
      const picture = svg("svg", {
        viewBox: `0 0 ${width} ${height}`, width: "100%", role: "group",
        "aria-label": `${metric} of every pipeline, a line for every collection. `
          + "Arrow keys walk the marks; Enter makes a pipeline stand out.",
      },
      ticks.map((tick) => [
        svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 14, y2: height - 40 }),
        svg("text", { x: x(tick), y: height - 25, "text-anchor": "middle" }, fixed(tick)),
      ]),
      svg("text", { class: "title", x: right, y: height - 5, "text-anchor": "end" }, `${metric} →`),
      rows.map(line), callout);
      box.replaceChildren(picture);
      const nodes = [...marks.keys()];
      const next = (node, way) => {
        const here = marks.get(node);
        const across = way === "left" || way === "right";
        const [same, along] = across ? ["row", "x"] : ["pipeline", "row"];
        const walk = nodes.filter((each) => marks.get(each)[same] === here[same])
          .sort((a, b) => marks.get(a)[along] - marks.get(b)[along] || marks.get(a).pipeline - marks.get(b).pipeline);
        return walk[walk.indexOf(node) + (way === "left" || way === "up" ? -1 : 1)];
      };
      const first = nodes.find((node) => marks.get(node).pipeline === chosen()) ?? nodes[0];
      chart.roving(picture, nodes, next, first, (node) => light(marks.get(node).pipeline));
      chart.callout(picture, marks, callout, width);
    });
    const figures = (metric, rows) => grid({
      caption: [name(metric), " on every mean and collection."],
      heads: ["Collection", ...names.map((text) => ({ text: h("bdi", {}, text), num: true }))],
      rows: rows.map(({ column, values }) => [
        { node: h("bdi", {}, column.name), head: true },
        ...values.map((value) => (value === null ? dash(board.reason(column)) : show.metric(value))),
      ]),
    });

    // The names, each a button that makes its pipeline stand out.
    const key = h("div", { class: "key shapes", role: "group", "aria-label": "Pipelines: press one to make it stand out" });
    const legend = (rows) => chart.keepingFocus(key, () => key.replaceChildren(
      ...names.map((text, pipeline) => {
        const { role, shape } = look(pipeline, false);
        return h("button", {
          type: "button", "aria-pressed": String(role === "chosen"), "data-at": `key ${pipeline}`, click: () => light(pipeline),
        }, icon(role, shape), h("bdi", {}, text), pipeline === base && [" ", h("span", { class: "tag" }, "baseline")]);
      }),
      rows.some(({ ranks }) => ranks.some((rank, number) => rank === 1 && look(number, true).role === "lead"))
        ? h("span", { class: "hint" }, icon("lead", "square"), "best of its row, where it is another one") : ""));

    const cost = h("div", {});
    root.replaceChildren(
      h("div", { class: "choices" },
        main.metrics.length > 1 && choice("Metric", "metric", main.metrics),
        names.length > 1 && choice("Stands out", "pipeline", names, otherwise)),
      h("h3", {}, "Scores"),
      h("figure", {},
        h("figcaption", { class: "note" },
          "A row for every mean and collection, a mark for every pipeline. The axis need not begin at zero."), key, box, table),
      cost);
    const redraw = chart.sized(box, draw);
    state.on(["metric", "pipeline"], redraw);
    redraw();
    pareto(cost);
  });
}
