// The leaderboard: every pipeline on every collection and mean, for one metric.

{
  const SR = (text) => h("span", { class: "sr" }, text);
  const ORDERS = ["down", "up", "name", "given"];
  // Long names of collections may break after a slash.
  const breaking = (text) => h("bdi", {}, text.split("/").flatMap((part, place) => (place ? ["/", h("wbr"), part] : part)));
  const RESTING = "Point at a score, or walk them with the arrow keys, for its tests and published figures; follow it to the queries.";

  view("leaderboard", (root) => {
    const { main } = page;
    if (!main.columns.length || !main.pipelines.length) return;
    const base = board.baseline();
    const hidden = new Set();
    const open = new Set();
    let [wanted, withControls] = ["", true];
    const hasBaseline = base >= 0 && main.pipelines.length > 1;
    const shows = [["scores", "Scores"], ...(hasBaseline ? [["delta", "Differences to the baseline"]] : []), ["rank", "Ranks"]];

    // -- what is chosen
    const kind = () => state.pick("show", shows.map(([value]) => value));
    const order = () => state.pick("order", ORDERS);
    const columns = () => {
      const seen = board.columns().filter(({ key }) => !hidden.has(key));
      const lead = board.chosen();
      return lead.mean && seen.includes(lead) ? [lead, ...seen.filter((each) => each !== lead)] : seen;
    };
    const rows = () => {
      const metric = board.metric();
      const needle = wanted.trim().toLowerCase();
      const { pipelines } = main;
      const found = pipelines.map((_, number) => number)
        .filter((number) => (withControls || !pipelines[number].control) && pipelines[number].name.toLowerCase().includes(needle));
      if (order() === "given") return found;
      if (order() === "name") return found.sort((a, b) => pipelines[a].name.localeCompare(pipelines[b].name));
      const [lead, sign] = [board.chosen(), order() === "up" ? 1 : -1];
      const value = (number) => board.value(lead, metric, number);
      return found.sort((a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)) || a - b);
    };

    // -- one cell
    const shown = (column, metric, pipeline, ranks) => {
      const value = board.value(column, metric, pipeline);
      if (kind() === "rank") return ranks[pipeline] === null ? null : String(ranks[pipeline]);
      const of = hasBaseline && kind() === "delta" && pipeline !== base ? board.value(column, metric, base) : null;
      return of === null ? show.metric(value) : show.delta(value - of);
    };
    const verdict = (each) => [each.status, each.reason].filter(Boolean).join(", ");
    // Everything that is known of a score, in words.
    const about = (column, metric, pipeline) => {
      const value = board.value(column, metric, pipeline);
      const rank = board.ranks(column, metric)[pipeline];
      const many = board.ranks(column, metric).filter((each) => each !== null).length;
      const said = [`${metric} ${show.metric(value)}${rank === null || many < 2 ? "" : `, rank ${rank} of ${many}`}`];
      const of = hasBaseline && pipeline !== base ? board.value(column, metric, base) : null;
      const test = board.test(column, metric, pipeline);
      if (of !== null) said.push(`${show.delta(value - of)} to the baseline`);
      if (test && test.p !== null) said.push(`p ${show.p(test.p)}${test.significant ? ", significant" : ""}`);
      if (test) said.push(`${show.count(test.wins)} won, ${show.count(test.ties)} tied, ${show.count(test.losses)} lost`);
      for (const each of board.published(column, metric, pipeline)) {
        said.push(`${board.marks[each.status]} ${verdict(each)}: published ${show.metric(each.published)} (${each.reference})`);
      }
      const expected = board.expected(column, metric, pipeline);
      if (expected) said.push(`${expected.status === "match" ? "✓ as" : "✗"} expected ${show.metric(expected.expected)}`);
      return said;
    };
    const address = (column, pipeline) => (column.mean
      ? [{ column: column.key, pipeline: main.pipelines[pipeline].name }, "plots"]
      : [{ collection: column.name, pipeline: main.pipelines[pipeline].name }, hasBaseline ? "pairs" : "explorer"]);
    const link = (column, pipeline) => {
      const [changes, section] = address(column, pipeline);
      return `#${section}?${new URLSearchParams({ metric: board.metric(), ...changes })}`;
    };
    const follow = (event, column, pipeline) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const [changes, section] = address(column, pipeline);
      state.set(changes, section);
      const title = document.getElementById(`${section}-title`);
      title?.setAttribute("tabindex", "-1");
      title?.focus({ preventScroll: true });
      document.getElementById(section)?.scrollIntoView();
    };
    const cell = (column, metric, pipeline, { best, ranks }) => {
      const value = board.value(column, metric, pipeline);
      const kinds = `num${column === board.chosen() ? " sorted" : ""}`;
      const text = value === null ? null : shown(column, metric, pipeline, ranks);
      if (text === null) return h("td", { class: kinds }, dash(value === null ? board.reason(column) : "an order control is not ranked"));
      const test = board.test(column, metric, pipeline);
      const expected = board.expected(column, metric, pipeline);
      const isBest = best.has(show.metric(value)) && !main.pipelines[pipeline].control;
      const gap = kind() === "delta" && pipeline !== base ? value - (board.value(column, metric, base) ?? value) : 0;
      return h("td", { class: kinds },
        h("a", {
          class: "cell", href: link(column, pipeline), "data-at": `${pipeline} ${column.key}`,
          click: (event) => follow(event, column, pipeline),
        },
        h("span", { class: gap && `delta ${gap > 0 ? "up" : "down"}` }, isBest ? h("b", { class: "best" }, text, SR(" (best)")) : text),
        h("span", { class: "marks" }, test?.significant && h("span", { class: "mark test" },
          h("span", { "aria-hidden": "true" }, test.mean > 0 ? "▲" : "▼"),
          SR(` (significantly ${test.mean > 0 ? "above" : "below"} the baseline)`)),
        board.published(column, metric, pipeline).map((each) => h("span", {
          class: "mark published", title: `published ${show.metric(each.published)} (${each.reference}): ${verdict(each)}`,
        },
        h("span", { "aria-hidden": "true" }, board.marks[each.status]),
        SR(` (${verdict(each)}: published ${show.metric(each.published)})`))))),
        expected && h("span", { class: `badge ${expected.status}` },
          expected.status === "match" ? "✓ as expected" : `✗ expected ${show.metric(expected.expected)}`));
    };

    // -- the table
    const turn = (changes, text) => { state.set(changes); say(text); };
    const head = (column) => {
      const sorted = column === board.chosen() && { down: "descending", up: "ascending" }[order()];
      const next = { descending: "up", ascending: "given" }[sorted] ?? "down";
      const told = {
        up: `Sorted by ${column.name}, ascending`, down: `Sorted by ${column.name}, descending`, given: "In the order of the experiment",
      };
      const click = () => turn({ column: column.key, order: next }, told[next]);
      return h("th", {
        scope: "col", class: `num${column === board.chosen() ? " sorted" : ""}`, "aria-sort": sorted,
        title: column.mean && `over ${column.members.join(", ")}`,
      }, h("button", { type: "button", "data-at": `head ${column.key}`, click }, breaking(column.name)));
    };
    const opened = (number) => {
      const pipeline = main.pipelines[number];
      const lead = board.chosen();
      const option = lead.mean ? null : main.collections.find((each) => each.name === lead.name)?.option;
      const block = (what, text) => h("div", { class: "copyable" },
        h("pre", { id: `row-${number}-${what}`, tabindex: "0", role: "region", "aria-label": `${what} of ${pipeline.name}` },
          h("code", {}, text)),
        h("button", { type: "button", "data-copy": `row-${number}-${what}` }, "Copy", SR(` the ${what} of ${pipeline.name}`)));
      return [
        pipeline.control
          && h("p", {}, "An order control of ", name(pipeline.control), ": the same, with its candidates given in random order."),
        pipeline.yaml ? block("YAML", pipeline.yaml) : h("p", { class: "empty" }, "The results do not say how this pipeline is made."),
        pipeline.command && [
          h("p", { class: "note" }, "The command of this row", option && [", on ", name(board.chosen().name)], ":"),
          block("command", option ? `${pipeline.command} ${option}` : pipeline.command),
        ],
      ];
    };
    const row = (number, seen, metric, ranked, marks) => {
      const pipeline = main.pipelines[number];
      const id = `board-row-${number}`;
      const toggle = () => {
        if (!open.delete(number)) open.add(number);
        draw();
        say(`${pipeline.name}: ${open.has(number) ? "details shown" : "details hidden"}`);
      };
      const isOpen = open.has(number);
      return [
        h("tr", { class: number === base && "baseline" },
          h("th", { scope: "row" }, h("span", { class: "who" },
            h("span", { class: "rank" }, ranked[number] === null ? "" : [SR("rank "), String(ranked[number])]), " ",
            h("span", {},
              h("button", {
                type: "button", class: "row", "data-at": `row ${number}`, "aria-expanded": String(isOpen), "aria-controls": isOpen && id,
                click: toggle,
              }, h("bdi", {}, pipeline.name)),
              number === base && [" ", h("span", { class: "tag" }, "baseline")],
              pipeline.control && [" ", h("span", { class: "tag" }, "order control")]))),
          seen.map((column, place) => cell(column, metric, number, marks[place]))),
        isOpen && h("tr", { class: "more", id },
          h("td", { colspan: seen.length + 1 }, h("div", { class: "inside" }, opened(number)))),
      ];
    };
    const box = h("div", { class: "scroll league-box", role: "region", tabindex: "0", "aria-labelledby": "league-caption" });
    const draw = () => chart.keepingFocus(box, () => {
      const metric = board.metric();
      const [seen, found] = [columns(), rows()];
      const ranked = board.ranks(board.chosen(), metric);
      const marks = seen.map((column) => {
        const values = found.filter((number) => !main.pipelines[number].control).map((number) => board.value(column, metric, number))
          .filter((value) => value !== null);
        return { best: new Set(values.length > 1 ? [show.metric(Math.max(...values))] : []), ranks: board.ranks(column, metric) };
      });
      const byName = order() === "name";
      const what = {
        scores: () => "", rank: () => ", as ranks",
        delta: () => [", as differences to the baseline, ", name(main.baseline), ", whose own row has its scores"],
      }[kind()]();
      box.replaceChildren(h("table", { class: "league" },
        h("caption", { id: "league-caption" }, name(metric), " of every pipeline", what, "."),
        h("thead", {}, h("tr", {},
          h("th", { scope: "col", "aria-sort": byName && "ascending" }, h("button", {
            type: "button", "data-at": "head",
            click: () => turn({ order: byName ? "given" : "name" }, byName ? "In the order of the experiment" : "Sorted by name"),
          }, "Pipeline")),
          seen.map(head))),
        h("tbody", {}, found.length ? found.map((number) => row(number, seen, metric, ranked, marks))
          : h("tr", {}, h("td", { colspan: seen.length + 1, class: "empty" }, "No pipeline has this in its name.")))));
      box.querySelectorAll("[data-copy]").forEach(copyable);
      chart.roving(box.firstChild, [...box.querySelectorAll("a.cell")], neighbour);
      summary.replaceChildren(...sentence(metric));
      notes.replaceChildren(...legend(seen, found, metric));
      count.textContent = `${found.length} of ${main.pipelines.length} shown`;
      readout.textContent = RESTING;
      readout.classList.remove("told");
    });
    const neighbour = (node, way) => {
      const [td, tr] = [node.closest("td"), node.closest("tr")];
      const from = way === "left" || way === "right" ? td : tr;
      const to = way === "left" || way === "up" ? "previousElementSibling" : "nextElementSibling";
      for (let next = from[to]; next; next = next[to]) {
        const there = (from === td ? next : next.cells[td.cellIndex])?.querySelector("a.cell");
        if (there) return there;
      }
      return null;
    };

    // -- words
    const sentence = (metric) => {
      const column = board.chosen();
      const ranked = board.ranks(column, metric);
      const leaders = ranked.flatMap((rank, number) => (rank === 1 ? [number] : []));
      const plain = column.members.every((member) => main.collections.some((each) => each.name === member));
      const where = column.mean
        ? ["in ", name(column.name), ` (${show.plural(column.members.length, plain ? "collection" : "member")})`]
        : ["on ", name(column.name)];
      if (!leaders.length) return ["No pipeline has ", name(metric), " ", ...where, "."];
      const value = board.value(column, metric, leaders[0]);
      const who = chart.listed(leaders.map((number) => name(main.pipelines[number].name)));
      const what = [name(metric), " ", ...where, `: ${show.metric(value)}`];
      if (ranked.filter((rank) => rank !== null).length < 2) return [...who, " has ", ...what, "."];
      const of = base >= 0 && !leaders.includes(base) ? board.value(column, metric, base) : null;
      const gap = of === null ? 0 : value - of;
      return [
        ...who, leaders.length > 1 ? " share the highest " : " has the highest ", ...what,
        ...(of === null ? [leaders.length === 1 && leaders[0] === base ? "; it is the baseline" : ""]
          : [`, ${show.metric(Math.abs(gap))} ${gap > 0 ? "above" : "below"} the baseline, `, name(main.baseline)]), ".",
      ];
    };
    const legend = (seen, found, metric) => {
      const empty = seen.filter((column) => found.some((number) => board.value(column, metric, number) === null));
      const here = new Set(seen.filter(({ mean }) => !mean).map((column) => column.name));
      const tests = main.families.filter((each) => (
        each.metric === metric && here.has(each.collection) && board.tests(metric).get(each.collection)?.size
      ));
      const references = seen.some((column) => found.some((number) => board.published(column, metric, number).length));
      const means = seen.filter(({ mean }) => mean);
      const lines = [
        found.length > 1 && [
          h("b", { class: "best" }, "Bold and underlined"),
          ": the best of its column among the rows shown; scores that agree to four decimals share it. ",
          "The number before a name is its rank in ", name(board.chosen().name), " among all pipelines.",
        ],
        tests.length && [
          h("span", { class: "mark" }, "▲ ▼"), " significantly above or below the baseline, ", name(main.baseline),
          `, at ${main.alpha}; p is that ${tests[0].how}.`,
        ],
        references && "✓ matches the published score (to its last digit, or within a tolerance whose reason stands with the score), "
          + "≈ is within 0.01 of it, ✗ is off.",
        main.pipelines.some((each) => each.control) && [
          "An ", h("i", {}, "order control"), " is a pipeline with its candidates given in random order: what it scores is the "
          + "reranker’s own, and not handed on from the stage before. It has no rank.",
        ],
        ...means.map((column) => [
          name(column.name), " is taken over ", ...chart.listed(column.members.map((member) => h("bdi", {}, member))),
          ", each counting once.",
        ]),
        means.length && "Significance is tested within a collection only: a mean over collections carries no test.",
        ...[...new Set(empty.map(board.reason))].map((reason) => `A dash: ${reason}.`),
      ];
      return lines.filter(Boolean).map((line) => h("p", { class: "note" }, line));
    };
    const readout = h("p", { class: "readout" }, RESTING);
    const tell = ({ target }) => {
      const at = target.closest?.("a.cell")?.dataset.at;
      if (at === undefined) return;
      const [pipeline, key] = [Number(at.split(" ")[0]), at.slice(at.indexOf(" ") + 1)];
      const column = board.columns().find((each) => each.key === key);
      const text = about(column, board.metric(), pipeline).join("; ");
      readout.classList.add("told");  // only then does it stand over the rows at the window's edge
      readout.replaceChildren(name(main.pipelines[pipeline].name), " on ", name(column.name), `: ${text}.`);
    };
    box.addEventListener("focusin", tell);
    box.addEventListener("mouseover", tell);

    // -- controls
    const count = h("span", { class: "count" });
    const filter = () => { wanted = find.value; draw(); say(count.textContent); };
    const find = h("input", { type: "search", autocomplete: "off", spellcheck: "false", input: filter });
    const told = () => { title.textContent = `Columns: ${board.columns().length - hidden.size} of ${board.columns().length}`; };
    const title = h("summary", {});
    const boxes = board.columns().map((column) => ({
      key: column.key, text: column.name, input: h("input", { type: "checkbox", checked: true }),
    }));
    const pick = () => {
      hidden.clear();
      for (const { key, input } of boxes) if (!input.checked) hidden.add(key);
      told();
      draw();
    };
    const every = (on) => h("button", {
      type: "button", click: () => { boxes.forEach(({ input }) => { input.checked = on; }); pick(); },
    }, on ? "All" : "None");
    const which = h("details", { class: "which", change: pick }, title, h("fieldset", {}, h("legend", { class: "sr" }, "Columns to show"),
      h("p", {}, every(true), " ", every(false)),
      boxes.map(({ text, input }) => h("label", { class: "tick" }, input, h("bdi", {}, text)))));
    told();
    const toggle = h("input", { type: "checkbox", checked: true, change: () => { withControls = toggle.checked; draw(); } });
    const controls = h("div", { class: "choices" },
      main.metrics.length > 1 && choice("Metric", "metric", main.metrics),
      board.columns().length > 1 && choice("Ranked by", "column", board.options(), board.first().key),
      choice("Show", "show", shows),
      main.pipelines.length > 1 && h("label", { class: "choice" }, h("span", {}, "Pipelines"), find, count),
      main.pipelines.some((each) => each.control) && h("label", { class: "tick" }, toggle, "Order controls"),
      board.columns().length > 1 && which);
    const summary = h("p", { class: "leader" });
    const notes = h("div", { class: "notes" });
    // The table as it is shown, without what only screen readers are told.
    const plain = (cell) => {
      const copy = (cell.querySelector("a.cell > span, button") ?? cell).cloneNode(true);
      copy.querySelectorAll(".sr").forEach((extra) => extra.remove());
      return copy.textContent.trim();
    };
    const lines = () => [...box.querySelectorAll("tr:not(.more)")].map((line) => [...line.cells].map(plain));
    const markdown = ([first, ...rest]) => {
      const line = (cells) => `| ${cells.map((each) => each.replace(/[\\`*_{}[\]<>#|~$!&]/g, "\\$&").replace(/\s+/g, " ")).join(" | ")} |`;
      return [line(first), `|:--|${"--:|".repeat(first.length - 1)}`, ...rest.map(line)].join("\n");
    };
    const quoted = (each) => `"${each.replaceAll('"', '""')}"`;
    // A name that a spreadsheet would run as a formula: as irkit.report.tabular writes it. Numbers keep their signs.
    const guarded = (each) => quoted(/^\s*[=+\-@＝＋－＠']/.test(each) ? `'${each}` : each);
    const number = (each) => quoted(each.replace(MINUS, "-").replace(/^–$/, ""));
    const csv = ([first, ...rest]) => [first.map(guarded), ...rest.map(([who, ...values]) => [guarded(who), ...values.map(number)])]
      .map((line) => line.join(",")).join("\r\n");
    // `copyable` takes its text from an element.
    const exported = (id, label, write) => {
      const source = h("pre", { id, class: "sr" });
      const button = h("button", { type: "button", "data-copy": id }, "Copy", ` as ${label}`);
      button.addEventListener("click", () => { source.textContent = write(lines()); }, { capture: true });
      return [source, button];
    };
    const tools = h("p", { class: "tools" }, exported("league-markdown", "Markdown", markdown), exported("league-csv", "CSV", csv));
    root.replaceChildren(controls, summary, box, readout, notes, tools);
    tools.querySelectorAll("[data-copy]").forEach(copyable);
    state.on(["metric", "column", "order", "show"], draw);
    draw();
  });
}
