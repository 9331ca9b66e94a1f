// Quality against cost: which pipelines no other one beats in both.

const DRIFT = 1.2;  // as in irkit/report/efficiency.py
// What is weak in measurements, in sentences: the page says it wherever their figures are.
const weaknesses = (rows) => {
  const busy = rows.filter((row) => row.busy).map((row) => row.load);
  const drifted = new Set(rows.filter(({ latency: { drift } }) => typeof drift === "number" && (drift > DRIFT || drift < 1 / DRIFT)).map((row) => row.pipeline));
  return [
    ...(busy.length ? [`The machine was busy: up to ${three(Math.max(...busy))} processes wanted a processor in the minute before it began.`] : []),
    ...(drifted.size ? [`The machine did not keep its pace: half of the queries took more than ${DRIFT} times as long as the other half of ${[...drifted].join(", ")}.`] : []),
  ];
};
// When measurements were made: of the sessions that they belong to.
const sessions = (efficiency, rows) => new Map(rows.map((row) => [row.created || efficiency.created, row.command || efficiency.command]));

// What can be set against quality: how it is called and written, and what it is of a pipeline on a collection (null: not known).
const costing = once(() => {
  const { main } = page;
  const at = (collection, pipeline) => JSON.stringify([collection, pipeline]);
  const measured = new Map((main.efficiency?.pipelines ?? []).map((each) => [at(each.collection, each.pipeline), each]));
  const found = (read) => (collection, pipeline) => {
    const each = measured.get(at(collection, pipeline));
    return each ? read(each) ?? null : null;
  };
  // Not of pipelines that were spared work which a new query needs: beside others they would look cheap.
  const whole = (read) => found((each) => (each.excludes?.length ? null : read(each)));
  // Of the run: every node of a pipeline once.
  const nodes = new Map();
  for (const time of main.stages) {
    const key = at(time.collection, time.pipeline);
    if (!nodes.has(key)) nodes.set(key, new Map());
    nodes.get(key).set(time.node ?? `position ${time.position}`, time);
  }
  const summed = (read) => (collection, pipeline) => {
    const values = [...(nodes.get(at(collection, pipeline))?.values() ?? [])].map(read);
    return values.length && values.every((value) => value !== null) ? values.reduce((sum, value) => sum + value, 0) : null;
  };
  const each = (time) => {
    const timed = time.timed_queries ?? time.queries - time.cached_queries;
    return timed > 0 ? time.seconds / timed : null;
  };
  const ms = (value) => show.duration(value / 1000);
  const opened = summed((time) => time.artifact_bytes);
  const bytes = found((one) => one.bytes);
  const all = [
    { key: "p50", label: "Latency, median", write: ms, of: whole((one) => one.latency.p50), whole: true, timed: true },
    { key: "p95", label: "Latency, 95th percentile", write: ms, of: whole((one) => one.latency.p95), whole: true, timed: true },
    { key: "throughput", label: "Queries a second", write: three, of: whole((one) => one.throughput), whole: true, more: true },
    {
      key: "batch", label: "Time per query of the run", write: show.duration, of: summed(each), timed: true, run: true,
      note: ["The time per query is that of this run’s batches: all stages added up, without loading models and indexes. What was "
        + "found in the store counts with what it cost when it was computed. ",
      h("code", {}, "irkit measure"), " times one query after the other."],
    },
    { key: "bytes", label: "Size of its indexes", write: show.size, of: bytes },
    {
      key: "opened", label: "Size of what its stages open", write: show.size, of: opened, run: true,
      note: ["An index that two stages open counts twice."],
    },
    {
      key: "flops", label: "GFLOP a query", write: (value) => three(value / 1e9), of: whole((one) => one.flops), whole: true,
      note: ["Counted by torch: what other code computes is not in it. "],
      atLeast: (collection, pipeline) => measured.get(at(collection, pipeline))?.flops_at_least ?? false,
    },
    { key: "memory", label: "Memory", write: show.size, of: whole((one) => one.memory), whole: true },
    { key: "device_memory", label: "Memory of the accelerator", write: show.size, of: whole((one) => one.device_memory), whole: true },
  ];
  const known = ({ of }) => main.collections.some((where) => main.pipelines.some((who) => of(where.name, who.name) !== null));
  const options = all.filter(known);
  return {
    options: options.filter(({ key }) => key !== "opened" || !options.some((other) => other.key === "bytes")),
    spared: (collection, pipeline) => (measured.get(at(collection, pipeline))?.excludes ?? []).length > 0,
    size: (collection, pipeline) => bytes(collection, pipeline) ?? opened(collection, pipeline),
  };
});

// Of points {score, cost}: which no other beats. A beater is at least as good in both, and better in one.
const beats = (one, other, more) => {
  const [better, cheaper] = [one.score - other.score, more ? one.cost - other.cost : other.cost - one.cost];
  return better >= 0 && cheaper >= 0 && (better > 0 || cheaper > 0);
};

const pareto = (root) => {
  const { main } = page;
  const names = main.pipelines.map((each) => each.name);
  const base = board.baseline();
  const { options, size, spared } = costing();
  const alone = main.pipelines.filter((each) => !each.control).length < 2;
  if (alone || !options.length) {
    root.replaceChildren(h("h3", {}, "Quality and cost"), h("p", { class: "empty" }, alone
      ? "One pipeline alone has nothing to be set against." : "The results hold no times and no sizes to set the scores against."));
    return;
  }
  const cost = () => options.find(({ key }) => key === state.pick("cost", options.map((each) => each.key)));
  const lit = () => names.indexOf(state.get("pipeline"));
  const light = (pipeline) => {
    state.set({ pipeline: names[pipeline] });
    say(`${names[pipeline]} stands out`);
  };
  // A mean's cost is the mean of its members' costs, as its score is that of their scores; a member may be a set of collections.
  const costOf = (of, column, pipeline) => {
    if (!column.mean) return of(column.name, pipeline);
    const mean = (values) => (
      values.every((value) => value !== null) ? values.reduce((sum, value) => sum + value, 0) / values.length : null);
    return mean(column.parts.map((part) => mean(part.map((each) => of(each, pipeline)))));
  };

  // Whether it is true of a pipeline on a collection, or on one of those that a mean is over.
  const some = (of, column, pipeline) => (column.mean ? column.members.some((member) => {
    const set = board.columns().find((each) => each.mean && each !== column && each.name === `Mean of ${member}`);
    return set ? some(of, set, pipeline) : of(member, pipeline);
  }) : of(column.name, pipeline));

  const box = h("div", { class: "chart cost-marks" });
  const words = h("div", {});
  const table = h("details", {});
  const draw = (width) => chart.keepingFocus(box, () => {
    const [metric, column, against] = [board.metric(), board.chosen(), cost()];
    const known = names.map((text, pipeline) => ({
      text, pipeline, score: board.value(column, metric, pipeline), cost: costOf(against.of, column, text),
      bytes: against.timed ? costOf(size, column, text) : null,
      spared: Boolean(against.whole) && some(spared, column, text), atLeast: Boolean(against.atLeast) && some(against.atLeast, column, text),
    })).filter(({ pipeline }) => !main.pipelines[pipeline].control);  // what shows a reranker by itself is no way to search
    const points = known.filter((each) => each.score !== null && each.cost !== null);
    for (const point of points) point.over = points.filter((other) => beats(other, point, against.more));
    for (const point of points) point.front = !point.over.length;
    tell(metric, column, against, known, points);
    if (!points.length) {
      box.replaceChildren();
      return;
    }
    const written = (point) => (point.atLeast ? "≥ " : "") + against.write(point.cost);
    const height = Math.round(Math.min(440, Math.max(300, width / 2)));
    const [left, right, top, bottom] = [46, width - 12, 24, height - 48];
    const scores = points.map(({ score }) => score);
    const ticks = chart.ticks(Math.min(...scores), Math.max(...scores), 6);
    const fixed = chart.fixed(ticks);
    const y = (value) => bottom - (bottom - top) * (value - ticks[0]) / (ticks.at(-1) - ticks[0]);
    // Zero has no logarithm: it gets a place of its own at the cheap end (or, of what should be large, at the other).
    const positive = points.map((point) => point.cost).filter((value) => value > 0);
    const zeros = positive.length < points.length;
    const scale = positive.length ? chart.logTicks(Math.min(...positive), Math.max(...positive), width < 620 ? 4 : 8) : [];
    const [low, high] = [Math.log10(scale[0]), Math.log10(scale.at(-1))];
    const [from, to] = [left + 22 + (zeros && !against.more ? 44 : 0), right - 22 - (zeros && against.more ? 44 : 0)];
    const x = (value) => {
      if (!(value > 0)) return against.more ? right - 16 : left + 16;
      const share = high > low ? (Math.log10(value) - low) / (high - low) : 0.5;
      return against.more ? to - (to - from) * share : from + (to - from) * share;  // cheap is always left
    };
    const sizes = points.map(({ bytes }) => bytes).filter((value) => value > 0).map(Math.log10);
    const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
    const radius = ({ bytes }) => {
      if (sizes.length < 2 || most - least < 0.05) return 6;
      return bytes > 0 ? 4.5 + 6 * (Math.log10(bytes) - least) / (most - least) : 3.5;
    };
    for (const point of points) Object.assign(point, { x: x(point.cost), y: y(point.score), r: radius(point) });
    const front = points.filter((point) => point.front).sort((a, b) => a.x - b.x || b.y - a.y);
    const steps = front.map((point) => `H${point.x.toFixed(1)}V${point.y.toFixed(1)}`);
    const marks = new Map();
    const drawn = [...points].sort((a, b) => a.front - b.front || b.r - a.r).map((point) => {
      const node = svg("g", {
        class: `mark ${point.front ? "front" : "other"}${point.pipeline === lit() ? " lit" : ""}`, role: "img",
        "data-at": String(point.pipeline),
        "aria-label": `${point.text}: ${metric} ${show.metric(point.score)}, ${against.label.toLowerCase()} ${written(point)}`
          + `${point.bytes === null ? "" : `, indexes ${show.size(point.bytes)}`}, ${point.front ? "on the front" : "beaten"}`,
        click: () => light(point.pipeline),
      },
      svg("circle", { class: "reach", cx: point.x, cy: point.y, r: Math.max(11, point.r) }),
      point.atLeast && svg("path", { class: "bound", d: `M${point.x + point.r} ${point.y}h14m-4 -4l4 4l-4 4` }),
      chart.shape(point.pipeline === base ? "diamond" : "circle", point.x, point.y, point.r));
      marks.set(node, { ...point, text: `${point.text} ${show.metric(point.score)}, ${written(point)}` });
      return node;
    });
    const callout = svg("text", { class: "callout" });
    const picture = svg("svg", {
      viewBox: `0 0 ${width} ${height}`, width: "100%", role: "group",
      "aria-label": `${metric} on ${column.name} against ${against.label.toLowerCase()}. `
        + "Arrow keys walk the marks; Enter makes a pipeline stand out.",
    },
    ticks.map((tick) => [
      svg("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }),
      svg("text", { x: left - 7, y: y(tick) + 4, "text-anchor": "end" }, fixed(tick)),
    ]),
    svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    [...scale, ...(zeros ? [0] : [])].map((tick) => [
      svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: bottom, y2: bottom + 5 }),
      svg("text", { x: x(tick), y: bottom + 19, "text-anchor": "middle" }, tick ? against.write(tick).replace(/\.0+(?=\D|$)/, "") : "0"),
    ]),
    svg("text", { class: "title", x: 0, y: 11 }, `↑ ${metric}`),
    svg("text", { class: "title", x: right, y: height - 5, "text-anchor": "end" },
      `${against.label.toLowerCase()}, ${against.more || against.timed ? "faster" : "cheaper"} to the left`),
    svg("path", { class: "frontier", d: `M${front[0].x.toFixed(1)} ${bottom}${steps.join("")}H${right}` }),
    drawn,
    labelled(points, { left, right, top, bottom }).map(({ point, text, at, anchor }) => svg("text", {
      class: `tagged${point.front ? "" : " beaten"}${point.pipeline === lit() ? " lit" : ""}`,
      x: at[0], y: at[1], "text-anchor": anchor, "aria-hidden": "true",
    }, text)),
    callout);
    box.replaceChildren(picture);
    const nodes = [...marks.keys()];
    const next = (node, way) => {
      const axis = way === "left" || way === "right" ? "x" : "y";
      const walk = [...nodes].sort((a, b) => marks.get(a)[axis] - marks.get(b)[axis] || marks.get(a).pipeline - marks.get(b).pipeline);
      return walk[walk.indexOf(node) + (way === "left" || way === "up" ? -1 : 1)];
    };
    chart.roving(picture, nodes, next, nodes.find((node) => marks.get(node).front), (node) => light(marks.get(node).pipeline));
    chart.callout(picture, marks, callout, width);
  });

  // Names beside their marks where there is room: first the one that stands out, the front, the best. The others are told on focus.
  const labelled = (points, { left, right, top, bottom }) => {
    const taken = points.map(({ x, y, r }) => [x - r, y - r, x + r, y + r]);
    const free = ([a, b, c, d]) => a >= left && c <= right && b >= top - 12 && d <= bottom
      && !taken.some(([e, f, g, i]) => a < g && c > e && b < i && d > f);
    const order = [...points].sort((a, b) => (b.pipeline === lit()) - (a.pipeline === lit()) || b.front - a.front || b.score - a.score);
    return order.flatMap((point) => {
      const { x, y, r } = point;
      const text = chart.short(point.text, 28);
      const long = 7 * text.length;
      const tries = [
        [x - r - 3, y - 5, "end"], [x + r + 3, y + 14, "start"], [x + r + 3, y - 5, "start"], [x - r - 3, y + 14, "end"],
        [x + r + 5, y + 4, "start"], [x - r - 5, y + 4, "end"], [x, y - r - 6, "middle"], [x, y + r + 15, "middle"],
      ];
      for (const [tx, ty, anchor] of tries) {
        const start = { start: tx, end: tx - long, middle: tx - long / 2 }[anchor];
        const area = [start, ty - 11, start + long, ty + 3];
        if (!free(area)) continue;
        taken.push(area);
        return [{ point, text, at: [tx, ty], anchor }];
      }
      return [];
    });
  };

  const tell = (metric, column, against, known, points) => {
    const front = points.filter((point) => point.front)
      .sort((a, b) => (against.more ? b.cost - a.cost : a.cost - b.cost) || a.pipeline - b.pipeline);
    const missing = known.filter((each) => !points.includes(each) && !each.spared);
    const kept = known.filter((each) => each.spared);
    const bounds = points.some((each) => each.atLeast);
    const rows = (main.efficiency?.pipelines ?? []).filter((row) => points.some(({ text }) => text === row.pipeline)
      && some((collection) => collection === row.collection, column, row.pipeline));
    const [quicker, slower] = against.more || against.timed ? ["faster", "slower"] : ["cheaper", "dearer"];
    words.replaceChildren(
      points.length
        ? h("p", {}, "On the front: ", ...chart.listed(front.map(({ text }) => name(text))),
          `. Nothing here is better than ${front.length > 1 ? "one of these" : "it"} without being ${slower}, `,
          `or ${quicker} without being worse.`)
        : h("p", { class: "empty" }, "No pipeline has both a score and this cost on ", name(column.name), "."),
      h("p", { class: "note" },
        points.length > 1 && "Filled marks are on the front, open ones are beaten; the line bounds what is beaten. ",
        base >= 0 && "The diamond is the baseline. ",
        points.some(({ bytes }) => bytes > 0) && "The larger a mark, the larger the indexes. ",
        main.pipelines.some((each) => each.control) && "Order controls are left out. ",
        column.mean && "The cost is the mean over the same collections. ",
        against.note?.map((each) => (each instanceof Node ? each.cloneNode(true) : each)),
        bounds && "Marks with an arrow are lower bounds (≥ in the table): their place is there or to the right of it, and who beats them or is beaten is by what was counted. ",
        main.efficiency && !against.run && ` Measured on ${main.efficiency.machine} (${[...new Set(rows.map((row) => row.device))].join(", ") || main.efficiency.device}).`,
        against.whole && sessions(main.efficiency, rows).size > 1 && ` Measured in ${sessions(main.efficiency, rows).size} sessions.`,
        against.whole && weaknesses(rows).map((each) => ` ${each}`)),
      kept.length
        ? h("p", { class: "note" }, "Not drawn: its texts come from the store, and writing them, which a new query needs, was not measured: ",
          ...chart.listed(kept.map(({ text }) => name(text))), ".")
        : "",
      missing.length
        ? h("p", { class: "note" },
          "Not drawn, because the score or the cost is not known: ", ...chart.listed(missing.map(({ text }) => name(text))), ".")
        : "");
    const cell = (value, write, reason) => (
      value === null ? { node: dash(reason), value: "" } : { node: write(value), value: String(value) });
    table.replaceChildren(h("summary", {}, "As a table"), grid({
      caption: [name(metric), " on ", name(column.name), ` against ${against.label.toLowerCase()}.`],
      heads: [
        { text: "Pipeline", sort: "text" }, { text: h("bdi", {}, metric), sort: "number", num: true },
        { text: against.label, sort: "number", num: true },
        ...(against.timed ? [{ text: "Indexes", sort: "number", num: true }] : []), { text: "Beaten by", sort: "text" },
      ],
      rows: known.map((each) => [
        { node: h("bdi", {}, each.text), value: each.text, head: true },
        cell(each.score, show.metric, board.reason(column)), cell(each.cost, (value) => (each.atLeast ? "≥ " : "") + against.write(value), each.spared ? "writing of its texts was not measured" : "not known"),
        ...(against.timed ? [cell(each.bytes, show.size, "not known")] : []),
        !each.over ? dash("not compared")
          : each.front ? "nobody: on the front" : h("span", {}, ...chart.listed(each.over.map(({ text }) => h("bdi", {}, text)))),
      ]),
    }));
  };

  root.replaceChildren(h("h3", {}, "Quality and cost"),
    h("div", { class: "choices" },
      board.columns().length > 1 && choice("On", "column", board.options(), board.first().key),
      choice("Cost", "cost", options.map(({ key, label }) => [key, label]))),
    h("figure", {}, words, box, table));
  const redraw = chart.sized(box, draw);
  state.on(["metric", "column", "cost", "pipeline"], redraw);
  redraw();
};
