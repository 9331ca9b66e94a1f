// Pipelines against one of them, query by query: how many are won and lost, by how much, and whether it may be chance. Where the
// experiment tested all pairs, any of them can be the other one, and a matrix shows them all.
{
  const BINS = 12;  // of a histogram, on each side of zero
  const DOES_NOT = "not tested";

  // A pair of the family, by the numbers of its pipelines, seen from `ours`. See _family in page.py.
  const tested = (family, ours, other) => {
    const found = family?.pairs.find(([a, b]) => (a === ours && b === other) || (a === other && b === ours));
    if (!found) return null;
    const [a, , mean, wins, ties, losses, effect, low, high, p, significant] = found;
    return a === ours
      ? { mean, wins, ties, losses, effect, low, high, p, significant }
      : {
        mean: -mean, wins: losses, ties, losses: wins, effect: effect === null ? null : -effect,
        low: high === null ? null : -high, high: low === null ? null : -low, p, significant,
      };
  };

  const counted = (deltas) => {
    const wins = deltas.filter((value) => value > 0).length;
    const losses = deltas.filter((value) => value < 0).length;
    const mean = deltas.reduce((sum, value) => sum + value, 0) / deltas.length;
    return { mean, wins, losses, ties: deltas.length - wins - losses, effect: null, low: null, high: null, p: null, significant: false };
  };

  // Counts of losses from -limit up to zero, and of wins from zero up to limit.
  const binned = (deltas, limit) => {
    const [losses, wins] = [new Array(BINS).fill(0), new Array(BINS).fill(0)];
    for (const value of deltas) {
      if (!value) continue;
      const place = Math.min(Math.floor(Math.abs(value) / limit * BINS), BINS - 1);
      if (value > 0) wins[place] += 1;
      else losses[BINS - 1 - place] += 1;
    }
    return { losses, wins };
  };

  // 240 x 62 units: bars of 9 from the middle at 120, on a line at 46, with a scale below.
  const drawing = ({ losses, wins }, limit, top, row) => {
    const bar = (kind, x, count) => count && svg("rect", { class: kind, x, y: 46 - 44 * count / top, width: 8.5, height: 44 * count / top });
    const scale = (x, anchor, value) => svg("text", { x, y: 60, "text-anchor": anchor }, value);
    const told = `Differences from ${show.delta(-limit)} to ${show.delta(limit)}: ${row.losses} losses, ${row.wins} wins`;
    return svg("svg", { width: 240, height: 62, viewBox: "0 0 240 62", role: "img", "aria-label": told },
      losses.map((count, place) => bar("lost", 119 - 9.5 * (BINS - place), count) || null),
      wins.map((count, place) => bar("won", 122 + 9.5 * place, count) || null),
      svg("path", { class: "axis", d: "M5 46.5H235M120.5 2V50" }),
      scale(5, "start", show.delta(-limit)), scale(120.5, "middle", "0"), scale(235, "end", show.delta(limit)));
  };

  const pValue = (row, reason) => {
    if (row.p === null) return dash(reason);
    if (!row.significant) return show.p(row.p);
    return h("strong", {}, show.p(row.p), h("span", { "aria-hidden": "true" }, "*"), h("span", { class: "sr" }, " (significant)"));
  };

  const table = (rows, { metric, collection, other, queries, limit, top }) => grid({
    kind: "compare",
    caption: ["Pipelines against ", name(other), ", on ", name(metric), `, ${show.plural(queries, "query")} of `, name(collection), ". ",
      top ? "The drawing shows how large the differences are, losses to the left and wins to the right; ties are not drawn. " +
        `The tallest bar stands for ${show.plural(top, "query")}.` : null],
    heads: [
      { text: "Pipeline", sort: "text" }, ...["Won", "Tied", "Lost", "Mean difference"].map((text) => ({ text, sort: "number", num: true })),
      { text: "p", sort: "number", num: true }, { text: "Differences" },
    ],
    rows: rows.map((row) => [
      { node: [name(row.name), row.control ? h("span", { class: "tag" }, " order control") : null], value: row.name, head: true },
      { node: show.count(row.wins), value: row.wins }, { node: show.count(row.ties), value: row.ties },
      { node: show.count(row.losses), value: row.losses },
      {
        node: [show.delta(row.mean),
          row.low === null ? null : h("span", { class: "sub" }, `${show.delta(row.low)} to ${show.delta(row.high)}`),
          row.effect === null ? null : h("span", { class: "sub" }, `d ${show.delta(row.effect, 2)}`)],
        value: row.mean,
      },
      { node: pValue(row, row.isTested ? "one query cannot be tested" : DOES_NOT), value: row.p ?? "" },
      { node: !row.bins ? dash("no values per query") : row.wins + row.losses && limit ? drawing(row.bins, limit, top, row) : dash("every query is a tie") },
    ]),
  });

  const told = (family, metric) => {
    const { main } = page;
    const mark = [h("strong", {}, "an asterisk*"), ` marks those below ${main.alpha}. `];
    return h("p", { class: "told" },
      "Beside the wins and losses stand the mean difference, with d, its size in standard deviations of the differences, and p, ",
      `${family.how}. Every metric and collection is a family of tests of its own; `, mark,
      `The interval is that of the bootstrap for the mean difference, at ${Number((100 * main.level).toPrecision(6))} %.`,
      family.judged_at ? ` What is not judged counts as irrelevant: judged@${family.judged_at} is the share of the first hits that is judged.` : null);
  };

  const judged = (family, shown) => {
    if (!family?.judged_at) return null;
    const known = shown.filter((number) => String(number) in family.judged);
    if (!known.length) return null;
    return h("p", { class: "note" }, `judged@${family.judged_at}: `,
      known.map((number, place) => [place ? ", " : null, name(page.main.pipelines[number].name), ` ${show.metric(family.judged[number])}`]), ".");
  };

  // Every pair, row less column, the best pipeline first. One cell can be reached by Tab, the others from it by the arrow keys.
  const matrix = (family, metric, collection) => {
    const { pipelines, columns } = page.main;
    const scores = columns.find((column) => column.name === collection && !column.members.length)?.values[metric] ?? [];
    const order = [...new Set(family.pairs.flatMap(([a, b]) => [a, b]))].sort((a, b) => (scores[b] ?? -1) - (scores[a] ?? -1) || a - b);
    const buttons = order.map(() => []);
    const cell = (ours, other, y, x) => {
      if (ours === other) return h("td", { class: "self" }, h("span", { "aria-hidden": "true" }, "·"));
      const row = tested(family, ours, other);
      const text = show.delta(row.mean, 3).replace("0.", ".");
      const label = `${pipelines[ours].name} less ${pipelines[other].name}: ${show.delta(row.mean)}, p ${row.p === null ? "not known" : show.p(row.p)}` +
        `${row.significant ? ", significant" : ""}; ${row.wins} won, ${row.ties} tied, ${row.losses} lost`;
      const button = h("button", {
        type: "button", title: label, "aria-label": label, tabindex: "-1", "data-pair": `${ours}-${other}`,
        class: row.significant ? (row.mean > 0 ? "up" : "down") : null,
        focus: () => { for (const each of buttons.flat()) each.tabIndex = each === button ? 0 : -1; },
        click: () => { state.set({ pipeline: pipelines[ours].name, other: pipelines[other].name }, "pairs"); say(label); },
        keydown: (event) => {
          const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
          if (!step) return;
          event.preventDefault();
          let [i, j] = [y + step[0], x + step[1]];
          if (i === j) [i, j] = [i + step[0], j + step[1]];  // over the diagonal, where nothing stands
          const next = buttons[i]?.[j];
          if (!next) return;
          next.focus();
        },
      }, text, row.significant ? "*" : null);
      buttons[y][x] = button;
      return h("td", { class: "num" }, button);
    };
    const id = "pairs-matrix-caption";
    const whole = h("table", { class: "matrix" },
      h("caption", { id }, "All pairs on ", name(metric), " of ", name(collection), ": the mean difference of the row less the column, the best pipeline first. ",
        h("strong", {}, "An asterisk*"), " marks those whose p is below ", String(page.main.alpha), ". Arrow keys move; Enter compares with the column."),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Pipeline"),
        order.map((other, place) => h("th", { scope: "col", class: "num", title: pipelines[other].name },
          h("span", { "aria-hidden": "true" }, String(place + 1)), h("span", { class: "sr" }, pipelines[other].name))))),
      h("tbody", {}, order.map((ours, y) => h("tr", {},
        h("th", { scope: "row" }, h("span", { class: "tag" }, `${y + 1} `), name(pipelines[ours].name)),
        order.map((other, x) => cell(ours, other, y, x))))));
    const first = buttons[0]?.find(Boolean);
    if (first) first.tabIndex = 0;
    return h("div", { class: "scroll", role: "region", tabindex: "0", "aria-labelledby": id }, whole);
  };

  view("pairs-view", async (root) => {
    const { main } = page;
    const names = main.pipelines.map((each) => each.name);
    const collections = main.collections.map((each) => each.name);
    if (!collections.length || !main.metrics.length) return root.replaceChildren(h("p", { class: "empty" }, "The results hold no scores to compare."));
    if (names.length < 2) return root.replaceChildren(h("p", { class: "empty" }, "The experiment has one pipeline: there is nothing to compare it with."));
    const otherwise = main.baseline !== null && names.includes(main.baseline) ? main.baseline : names[0];
    const shown = h("div", {});
    root.replaceChildren(
      main.baseline === null ? h("p", { class: "empty" }, "The experiment names no baseline: choose what to compare with.") : "",
      h("p", { class: "choices" }, choice("Collection", "collection", collections), choice("Metric", "metric", main.metrics),
        choice("Compared with", "other", names, otherwise)),
      shown);
    let turn = 0;
    const draw = async () => {
      const mine = ++turn;
      const [collection, metric, other] = [state.pick("collection", collections), state.pick("metric", main.metrics), state.pick("other", names, otherwise)];
      const [number, base] = [collections.indexOf(collection), names.indexOf(other)];
      const values = await Promise.all(names.map((_, place) => perQuery(number, metric, place)));
      if (mine !== turn) return;  // another choice was made meanwhile
      const family = main.families.find((each) => each.collection === collection && each.metric === metric);
      const rows = [];
      const absent = [];
      names.forEach((each, place) => {
        if (place === base) return;
        const deltas = values[place] && values[base]
          ? values[place].map((value, query) => board.delta(value, values[base][query])) : null;
        const found = tested(family, place, base);
        if (!deltas?.length && !found) absent.push(place);
        else rows.push({ ...(found ?? counted(deltas)), name: each, control: main.pipelines[place].control, deltas, number: place, isTested: Boolean(found) });
      });
      if (!rows.length) {
        shown.replaceChildren(h("p", { class: "empty" }, "There are no values per query of ", name(metric), " on ", name(collection), " for ", name(other), " and another pipeline."));
        return;
      }
      const limit = rows.reduce((most, row) => (row.deltas ?? []).reduce((so, value) => Math.max(so, Math.abs(value)), most), 0);
      for (const row of rows) row.bins = row.deltas && limit ? binned(row.deltas, limit) : row.deltas && { losses: [], wins: [] };
      const top = Math.max(0, ...rows.flatMap((row) => (row.bins ? [...row.bins.losses, ...row.bins.wins] : [])));
      const isTested = rows.some((row) => row.isTested);
      const queries = family?.queries ?? rows.find((row) => row.deltas)?.deltas.length ?? 0;
      const focused = shown.contains(document.activeElement) ? document.activeElement.dataset.pair : undefined;
      const allPairs = family?.pairs.some(([a, b]) => names[a] !== main.baseline && names[b] !== main.baseline);
      shown.replaceChildren(
        isTested ? told(family, metric) : h("p", { class: "told" }, "The experiment did not test pairs with ", name(other), ": the differences stand here without p and interval."),
        table(rows, { metric, collection, other, queries, limit, top }),
        isTested && rows.some((row) => !row.isTested) ? h("p", { class: "note" }, "A dash under p: the experiment did not test this pair.") : "",
        judged(family, [base, ...rows.map((row) => row.number)]) ?? "",
        rows.some((row) => !row.wins && !row.losses) ? h("p", { class: "note" }, "A dash under “Differences”: every query is a tie.") : "",
        ...absent.map((place) => h("p", { class: "note" }, name(names[place]), " has no values of ", name(metric), " per query.")),
        allPairs ? matrix(family, metric, collection) : "",
        !allPairs && names.length > 2
          ? h("p", { class: "note" }, "Only pairs with the baseline are tested. ", h("code", {}, "statistics: {pairs: all}"),
            " in the experiment file tests all pairs, corrects them together, and shows them here as a matrix.") : "");
      if (focused) shown.querySelector(`[data-pair="${focused}"]`)?.focus({ preventScroll: true });
    };
    state.on(["collection", "metric", "other"], draw);
    await draw();
  });
}
