// Time and space: what every stage cost in the run, and what the pipelines cost where `irkit measure` has measured them.
{
  const unique = (values) => [...new Set(values)];

  // A table whose rows stand in groups, one a pipeline: heads as those of `grid`, groups are {title: nodes, sum: text, rows}.
  let number = 0;
  const grouped = ({ caption, heads, groups, kind }) => {
    const id = `costs-table-${++number}`;
    const row = (cells) => h("tr", {}, cells.map((cell, column) => {
      if (column === 0) return h("th", { scope: "row" }, cell);
      return cell instanceof Element && cell.tagName === "TD" ? cell : h("td", { class: heads[column].num && "num" }, cell);
    }));
    return h("div", { class: "scroll", role: "region", tabindex: "0", "aria-labelledby": id }, h("table", { class: kind },
      h("caption", { id }, caption),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col", class: head.kind ?? (head.num && "num") }, head.text)))),
      groups.map((group) => h("tbody", {},
        h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: heads.length }, h("span", {}, name(group.title), h("span", { class: "sum" }, group.sum)))),
        group.rows.map(row)))));
  };
  const pairs = (notes) => Object.entries(notes).map(([key, value]) => h("span", { class: "pair" }, h("bdi", {}, key), " ", h("bdi", {}, value)));
  const sub = (...children) => h("span", { class: "sub" }, children);

  // -- what the run cost ----------------------------------------------------------------------------------------------------

  const bar = (stage, longest) => {
    const share = (seconds) => `${(100 * seconds / longest).toFixed(3)}%`;
    const rect = (kind, x, seconds) => svg("rect", { class: kind, x: share(x), y: 1, width: share(seconds), height: 10 });
    const [before, work] = [stage.prepare_seconds, stage.seconds];
    return h("td", { class: "bar" }, svg("svg", { width: "100%", height: 12, "aria-hidden": "true" },
      stage.cached === "all" ? rect("kept", 0, before + work) : [rect("prepare", 0, before), rect("work", before, work)]));
  };

  const stageCells = (stage, longest) => [
    [h("bdi", {}, stage.label || stage.stage),
      stage.shared === stage.pipeline ? sub("the same as above, computed once") : stage.shared !== null ? sub("shared with ", name(stage.shared)) : null,
      Object.keys(stage.notes).length ? sub(pairs(stage.notes)) : null],
    bar(stage, longest),
    show.duration(stage.prepare_seconds),
    show.duration(stage.seconds),
    stage.per_query === null ? dash("how many queries the time covers is not known") : show.duration(stage.per_query),
    stage.cached === "all" ? `all ${show.count(stage.queries)}` : stage.cached === "some" ? `${show.count(stage.cached_queries)} of ${show.count(stage.queries)}` : "none",
    stage.artifact_bytes ? h("span", { title: `${show.count(stage.artifact_bytes)} bytes` }, show.size(stage.artifact_bytes)) : dash("the stage opens no artifact"),
  ];

  const stageTable = (stages, collection, several, longest) => {
    const cost = (stage) => stage.seconds + stage.prepare_seconds;
    const here = stages.filter((stage) => stage.collection === collection);
    if (!here.length) return [h("p", { class: "empty" }, "The results hold no times of ", name(collection), ".")];
    return [
      grouped({
        kind: "costs",
        caption: ["Cost of every stage on ", name(collection), ", and how many queries came from the store.",
          several ? " Bars of all collections share one scale." : null,
          here.some((stage) => stage.shared !== null) ? " A shared stage was computed once, and each pipeline’s sum counts it." : null],
        heads: [{ text: "Stage" }, { text: h("span", { class: "sr" }, "Bar"), kind: "bar" }, { text: "Prepare", num: true }, { text: "Work", num: true },
          { text: "Per query", num: true }, { text: "From store", kind: "short" }, { text: "Opens on disk", num: true }],
        groups: unique(here.map((stage) => stage.pipeline)).map((pipeline) => {
          const own = here.filter((stage) => stage.pipeline === pipeline);
          const sum = own.filter((stage) => stage.shared !== pipeline).reduce((so, stage) => so + cost(stage), 0);
          return { title: pipeline, sum: `${show.duration(sum)} in all`, rows: own.map((stage) => stageCells(stage, longest)) };
        }),
      }),
      here.some((stage) => stage.per_query === null) ? h("p", { class: "note" }, "A dash under “Per query”: how many queries the time covers is not known.") : null,
      here.some((stage) => !stage.artifact_bytes) ? h("p", { class: "note" }, "A dash under “Opens on disk”: the stage opens no artifact.") : null,
    ];
  };

  const runTold = (main) => [
    h("p", {}, main.fromStore ? `This run found everything in the store, in ${show.duration(main.seconds)}. ` : `The whole run took ${show.duration(main.seconds)}. `,
      "What was found in the store was not run again: its row shows what it cost when it was computed. ",
      "Where the store had some of the queries, the time is that of the others."),
    h("p", { class: "key", "aria-hidden": "true" }, [["prepare", "preparing: models, indexes"], ["work", "working on the queries"], ["kept", "found in the store, not run"]].map(
      ([kind, text]) => h("span", {}, svg("svg", { width: 22, height: 10 }, svg("rect", { class: kind, x: 0.5, y: 0.5, width: 21, height: 9 })), ` ${text}`))),
  ];

  // -- what was measured ----------------------------------------------------------------------------------------------------

  const ms = (value) => show.duration(value / 1000);
  const known = (value, text, reason) => (value === null || value === undefined ? dash(reason) : text(value));
  const gflop = ({ flops, flops_at_least: part }) => known(flops, (count) => (part ? "≥ " : "") + three(count / 1e9), "not counted: torch does not do the work");
  const tokens = (kinds) => (Object.keys(kinds).length
    ? Object.entries(kinds).map(([kind, count]) => h("span", { class: "pair" }, `${three(count)} `, h("bdi", {}, kind))) : dash("no language model"));
  const memory = (value) => known(value, show.size, "not measured");
  const perSecond = (value) => known(value, three, "not measured");

  // The range of latencies on a logarithmic axis: a dot at p50, a line over p95 (a stroke) to p99 (a ring).
  const WIDTH = 150;
  const axis = (latencies) => {
    const positive = latencies.flatMap(({ p50, p99 }) => [p50, p99]).filter((value) => value > 0);
    const low = Math.floor(Math.log10(Math.min(...positive, 1)));
    const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...positive, Number.MIN_VALUE))));
    const at = (value) => 6 + (WIDTH - 12) * Math.min(1, Math.max(0, ((value > 0 ? Math.log10(value) : low) - low) / (high - low)));
    return { at, decades: Array.from({ length: high - low + 1 }, (_, place) => 10 ** (low + place)) };
  };
  const lines = ({ at, decades }, height) => decades.map((value) => svg("path", { class: "decade", d: `M${at(value)} 0V${height}` }));
  const rangeMark = (latency, scale) => svg("svg", {
    class: "range", width: WIDTH, height: 22, viewBox: `0 0 ${WIDTH} 22`, role: "img",
    "aria-label": `p50 ${ms(latency.p50)}, p95 ${ms(latency.p95)}, p99 ${ms(latency.p99)}`,
  }, lines(scale, 22),
  svg("path", { class: "span", d: `M${scale.at(latency.p50)} 11H${scale.at(latency.p99)}` }),
  svg("path", { class: "span", d: `M${scale.at(latency.p95)} 6V16` }),
  svg("circle", { class: "middle", cx: scale.at(latency.p50), cy: 11, r: 3.5 }),
  svg("circle", { class: "end", cx: scale.at(latency.p99), cy: 11, r: 3 }));
  const axisMark = (scale) => {
    const every = Math.ceil(scale.decades.length / 4);  // more labels would touch
    return svg("svg", { class: "range", width: WIDTH, height: 18, viewBox: `0 0 ${WIDTH} 18`, "aria-hidden": "true" },
      scale.decades.map((value, place) => place % every === 0 && svg("text", {
        x: scale.at(value), y: 13, "text-anchor": place === 0 ? "start" : place === scale.decades.length - 1 ? "end" : "middle",
      }, value >= 1000 ? `${value / 1000} s` : value >= 1 ? `${value} ms` : `${Number((value * 1000).toPrecision(1))} µs`)));
  };

  const measuredTold = (efficiency, rows) => {
    const samples = unique(rows.map((row) => row.latency.samples));
    const warmed = rows.map((row) => row.latency.warmed ?? 0);
    const [least, most] = [Math.min(...warmed), Math.max(...warmed)];
    const times = sessions(efficiency, rows);
    const devices = unique(rows.map((row) => row.device ?? "cpu")).filter((device) => device !== "cpu");
    const counted = rows.some((row) => row.flops_at_least);
    return h("p", {}, `Latency is that of one query at a time, over ${samples.length === 1 ? show.plural(samples[0], "query") : `${Math.min(...samples)} to ${Math.max(...samples)} queries`}`,
      ` that had run before, ${most ? `after ${least === most ? "" : `${show.count(least)} to `}${show.count(most)} runs of others to warm up` : "with no others to warm up"}, not counted; queries a second are those of all of the sample in one batch. Measured on `,
      name(efficiency.machine), devices.length ? ", with " : ", without an accelerator", devices.map((device, place) => [place ? ", " : null, name(device)]),
      `, ${show.plural(efficiency.threads, "thread")}, `, efficiency.isolated ? "each pipeline in a process of its own" : "all pipelines in one process",
      times.size > 1 ? `, in ${times.size} sessions, by ` : ", by ", unique([...times.values()]).map((command, place) => [place ? ", " : null, h("code", {}, command)]), ".",
      efficiency.memory_by === "ru_maxrss" ? " Memory is the growth of the process’s peak: a stage that stays below an earlier peak shows 0." : null,
      samples.some((count) => count <= 100) ? " Of up to 100 queries, p99 lies between the two slowest." : null,
      counted ? " GFLOP is the mean of 5 queries, evenly spaced; ≥: other code than torch does a part of the work." : null,
      weaknesses(rows).map((each) => ` ${each}`));
  };

  const pipelineTable = (rows, collection) => {
    const scale = axis(rows.map((row) => row.latency));
    const counted = rows.some((row) => typeof row.flops === "number");
    const written = rows.some((row) => Object.keys(row.tokens ?? {}).length);
    const devices = unique(rows.map((row) => row.device)).length > 1;
    const onDevice = rows.some((row) => typeof row.device_memory === "number");
    const quantity = (text) => ({ text, sort: "number", num: true });
    const cell = (value, node) => ({ node, value: value ?? "" });
    return grid({
      kind: "measured",
      caption: ["What a query costs in every pipeline on ", name(collection), ". The mark shows latency on a logarithmic axis: a dot at p50, a stroke at p95, a ring at p99. ",
        "Size is that of all artifacts on disk that the pipeline opens; ", counted ? "GFLOP, 10⁹ floating-point operations that torch counted; " : null,
        "memory, the growth of the process at its peak."],
      heads: [{ text: "Pipeline", sort: "text" }, { text: [h("span", { class: "block" }, "Latency"), axisMark(scale)] },
        ...["p50", "p95", "p99", "Mean", "Queries/s", "Size", ...(counted ? ["GFLOP"] : [])].map(quantity), ...(written ? [{ text: "Tokens" }] : []), quantity("Memory"), ...(onDevice ? [quantity("On device")] : [])],
      rows: rows.map((row) => [
        { node: [name(row.pipeline), devices && sub(name(row.device)), (row.excludes ?? []).map((what) => sub("without ", what))], value: row.pipeline, head: true }, { node: rangeMark(row.latency, scale) },
        ...["p50", "p95", "p99", "mean"].map((key) => cell(row.latency[key], ms(row.latency[key]))),
        cell(row.throughput, perSecond(row.throughput)), cell(row.bytes, row.bytes ? show.size(row.bytes) : dash("it opens no artifact")),
        ...(counted ? [cell(row.flops, gflop(row))] : []), ...(written ? [{ node: tokens(row.tokens ?? {}) }] : []), cell(row.memory, memory(row.memory)),
        ...(onDevice ? [cell(row.device_memory, memory(row.device_memory))] : []),
      ]),
    });
  };

  const measuredStages = (stages, collection) => {
    const builds = (stage) => (stage.builds.length
      ? stage.builds.map((each) => h("span", { class: "pair" }, h("bdi", {}, each.kind), ` ${show.size(each.bytes)}${each.seconds === null ? "" : `, built in ${show.duration(each.seconds)}`}`))
      : dash("the stage opens no artifact"));
    const told = (stage) => [h("bdi", {}, stage.label || stage.stage), (stage.notes ?? []).map((note) => sub(h("bdi", {}, note))),
      stage.differing ? sub(`${show.plural(stage.differing, "query")} with other results in a batch than alone`) : null];
    const groups = (cells) => unique(stages.map((stage) => stage.pipeline)).map((pipeline) => ({
      title: pipeline, sum: "", rows: stages.filter((stage) => stage.pipeline === pipeline).map(cells),
    }));
    return [
      h("details", {}, h("summary", {}, "Stage by stage"), grouped({
        kind: "costs", caption: ["Every stage by itself, on what the stages before it gave, on ", name(collection), "."],
        heads: [{ text: "Stage" }, ...["p50", "p95", "p99", "Mean", "Queries/s", "GFLOP"].map((text) => ({ text, num: true })), { text: "Tokens" }, { text: "Memory", num: true }],
        groups: groups((stage) => [told(stage), ...["p50", "p95", "p99", "mean"].map((key) => ms(stage.latency[key])), perSecond(stage.throughput),
          gflop(stage), tokens(stage.tokens), memory(stage.memory)]),
      })),
      h("details", {}, h("summary", {}, "Cold start and first query"), grouped({
        kind: "costs",
        caption: ["What comes before the latency above, on ", name(collection), ": loading models and opening indexes in a process that had done so for the stages before ",
          "alone, though the operating system may have held the files in memory; then the first query, with compilation and caches."],
        heads: [{ text: "Stage" }, { text: "Cold start", num: true }, { text: "First query", num: true }, { text: "Then, p50", num: true }, { text: "Opens" }],
        groups: groups((stage) => [h("bdi", {}, stage.label || stage.stage), show.duration(stage.cold_seconds), ms(stage.first_ms), ms(stage.latency.p50), builds(stage)]),
      })),
    ];
  };

  const measured = (main, collection) => {
    const how = [h("code", {}, "irkit measure"), " measures latency, throughput, memory and size of every pipeline, and the next report shows them here."];
    const outdated = main.outdated.filter(([where]) => where === collection).map(([, pipeline]) => pipeline);
    const stale = outdated.length
      ? h("p", { class: "note" }, "Measured with other options, documents or models than those of this report, and so not shown: ",
        outdated.map((pipeline, place) => [place ? ", " : null, name(pipeline)]), ".") : null;
    const { efficiency } = main;
    const rows = efficiency?.pipelines.filter((row) => row.collection === collection) ?? [];
    if (!rows.length) return [h("p", { class: "empty" }, efficiency ? ["Nothing was measured on ", name(collection), ": "] : "Nothing was measured: ", how), stale];
    const without = unique(main.stages.filter((stage) => stage.collection === collection).map((stage) => stage.pipeline))
      .filter((pipeline) => !outdated.includes(pipeline) && !rows.some((row) => row.pipeline === pipeline));
    return [
      measuredTold(efficiency, rows), pipelineTable(rows, collection), stale,
      without.length ? h("p", { class: "note" }, "Not measured: ", without.map((pipeline, place) => [place ? ", " : null, name(pipeline)]), ".") : null,
      ...measuredStages(efficiency.stages.filter((stage) => stage.collection === collection), collection),
    ];
  };

  view("costs-view", async (root) => {
    const { main } = page;
    const names = unique([...main.collections.map((each) => each.name), ...main.stages.map((stage) => stage.collection)]);
    if (!names.length || !(main.stages.length || main.efficiency)) return root.replaceChildren(h("p", { class: "empty" }, "The results hold no times."));
    const longest = Math.max(...main.stages.map((stage) => stage.seconds + stage.prepare_seconds)) || 1;
    const collections = main.collections.length ? main.collections.map((each) => each.name) : names;
    const shown = h("div", {});
    root.replaceChildren(h("p", { class: "choices" }, choice("Collection", "collection", collections)), shown);
    const draw = () => {
      const collection = state.pick("collection", collections);
      const open = [...shown.querySelectorAll("details")].map((each) => each.open);
      shown.replaceChildren(...[
        h("h3", {}, "Measured"), ...measured(main, collection),
        h("h3", {}, "In this run"), ...(main.stages.length ? [...runTold(main), ...stageTable(main.stages, collection, collections.length > 1, longest)] : [h("p", { class: "empty" }, "The results hold no times.")]),
      ].filter(Boolean));
      [...shown.querySelectorAll("details")].forEach((each, place) => { each.open = open[place] ?? false; });
    };
    state.on(["collection"], draw);
    draw();
  });
}
